// `npm run bench`: brings the checkout to a state that runs, installs the peers into bench/, builds the bench and
// runs it. The peers are the bench's own packages: the product does not carry them.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { fingerprint, root, setUp } from './setup.mjs';

const NAMES = [
  ...['verify', 'hash', 'ticks', 'codec', 'journal', 'accept', 'latency', 'scale'],
  ...['gas', 'seeding', 'download', 'flood'],
];
const USAGE = `npm run bench -- [NAMES] [options]

  NAMES          only these: ${NAMES.join(', ')}
  --only NAMES   the same, separated by commas
  --json FILE    also write the rows as [{id, ours, peer, ratio, unit}]
  --save         also keep the run with commit and machine in bench/results/
  --smoke        tiny sizes: shows that the benches work, not how fast they are; installs no peers
  --peers        with --smoke: install the peers and measure them too
  --no-peers     leave out the peers of bench/package.json
  --help         this text

Ratios say how many times better ours is than the peer in the same run.
`;
const bench = join(root, 'bench');
const options = readOptions();

await setUp();
const peers = preparePeers();
build();
process.exitCode = await run();

/** Runs the bench and passes on what should end it, so that it can end its own processes. */
function run() {
  // Garbage of one side must not be collected in the other side's time.
  const args = ['--expose-gc', join(bench, 'dist', 'main.js'), JSON.stringify({ ...options, peers })];
  const child = spawn(process.execPath, args, { stdio: 'inherit' });
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  // A terminal's Ctrl-C reaches the child by itself; this process only waits for it.
  process.on('SIGINT', () => undefined);
  return new Promise((resolve) => child.once('close', (status) => resolve(status ?? 1)));
}

function readOptions() {
  let values;
  let positionals;
  try {
    ({ values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        only: { type: 'string' },
        json: { type: 'string' },
        save: { type: 'boolean', default: false },
        smoke: { type: 'boolean', default: false },
        peers: { type: 'boolean', default: false },
        'no-peers': { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }));
  } catch (thrown) {
    refuse(thrown.message);
  }
  if (values.help) {
    process.stdout.write(USAGE);
    process.exit(0);
  }
  if (values.peers && values['no-peers']) refuse('--peers and --no-peers exclude each other');
  const only = [...positionals, ...(values.only === undefined ? [] : values.only.split(','))];
  const unknown = only.find((name) => !NAMES.includes(name));
  if (unknown !== undefined) refuse(`there is no bench "${unknown}"`);
  const { json, save, smoke } = values;
  if (save && smoke) refuse('a smoke run is not worth keeping: --save and --smoke exclude each other');
  return {
    only,
    save,
    smoke,
    ...(json === undefined ? {} : { json: resolve(json) }),
    wants: values['no-peers'] ? 'none' : smoke && !values.peers ? 'installed' : 'all',
  };
}

/** Installs the peers if they are wanted and not there; says whether they may be used. */
function preparePeers() {
  if (options.wants === 'none') return false;
  const stampFile = join(bench, 'node_modules', '.piecework-stamp');
  const stamp = fingerprint(['bench/package.json', 'bench/package-lock.json', 'bench/.npmrc']);
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return true;
  if (options.wants === 'installed') {
    process.stderr.write('bench: the peers are not installed and left out; --peers installs them\n');
    return false;
  }
  process.stderr.write('bench: installing the peers (one is compiled: some minutes the first time) …');
  const begin = Date.now();
  const { status, stdout, stderr, error } = npm([
    'install',
    '--no-save',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ]);
  if (status !== 0) {
    process.stderr.write(`\n${stdout ?? ''}${stderr ?? ''}\n`);
    fail(`installing the peers failed${error ? `: ${error.message}` : ''}; the lines above say why.`);
  }
  writeFileSync(stampFile, stamp);
  process.stderr.write(` ${((Date.now() - begin) / 1000).toFixed(1)} s\n`);
  return true;
}

function npm(args) {
  const cli = process.env.npm_execpath;
  const env = { ...process.env };
  // An npm that runs this script tells its own settings to its children; this install has its own folder.
  delete env.npm_config_local_prefix;
  delete env.npm_config_prefix;
  const prefix = dirname(dirname(process.execPath));
  // better-sqlite3 is compiled where no ready-made build can be had; Node's own headers serve it offline.
  if (existsSync(join(prefix, 'include', 'node'))) env.npm_config_nodedir = prefix;
  const spawnOptions = { cwd: bench, env, encoding: 'utf8', maxBuffer: 1 << 26 };
  return cli?.endsWith('.js')
    ? spawnSync(process.execPath, [cli, ...args], spawnOptions)
    : spawnSync('npm', args, spawnOptions);
}

function build() {
  const stampFile = join(bench, 'dist', '.stamp');
  const stamp = fingerprint([
    'bench/src',
    'bench/tsconfig.json',
    'tsconfig.json',
    'package-lock.json',
    'src',
  ]);
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return;
  rmSync(join(bench, 'dist'), { recursive: true, force: true });
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const { status } = spawnSync(process.execPath, [tsc, '-p', join(bench, 'tsconfig.json')], {
    stdio: 'inherit',
  });
  if (status !== 0) fail('compiling the bench failed; the lines above say why.');
  mkdirSync(dirname(stampFile), { recursive: true });
  writeFileSync(stampFile, stamp);
}

function refuse(message) {
  process.stderr.write(`bench: ${message}\n\n${USAGE}`);
  process.exit(2);
}

function fail(message) {
  process.stderr.write(`bench: ${message}\n`);
  process.exit(1);
}
