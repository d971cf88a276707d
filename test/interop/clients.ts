/**
 * Unmodified BitTorrent clients for the interop tests: where they are, how they are started and ended. A test
 * whose client is not installed is skipped with the package's name, unless PIECEWORK_REQUIRE_PEERS=1 asks for it.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { onTestFinished, type TestContext } from 'vitest';

export type Package = 'aria2' | 'python3-libtorrent' | 'transmission-cli' | 'iproute2';

/** The command that proves that a Debian package is there and works. */
const PROOFS: Readonly<Record<Package, readonly [string, ...string[]]>> = {
  aria2: ['aria2c', '--version'],
  'python3-libtorrent': ['/usr/bin/python3', '-c', 'import libtorrent'],
  'transmission-cli': ['transmission-cli', '--version'],
  iproute2: ['ip', '-V'],
};

/** Skips the test, naming the package, when it is not installed; fails it when packages are required. */
export function needs(context: TestContext, ...packages: readonly Package[]): void {
  for (const name of packages) {
    const [command, ...args] = PROOFS[name];
    try {
      execFileSync(command, args, { stdio: 'ignore' });
    } catch (thrown) {
      if (process.env['PIECEWORK_REQUIRE_PEERS'] === '1') {
        throw new Error(`the Debian package ${name} is required and missing`, { cause: thrown });
      }
      context.skip(`needs the Debian package ${name}`);
    }
  }
}

/** Skips the test when network namespaces cannot be made; fails it when packages are required. */
export function needsRoot(context: TestContext): void {
  if (process.getuid?.() === 0) return;
  if (process.env['PIECEWORK_REQUIRE_PEERS'] === '1') throw new Error('network namespaces need root');
  context.skip('needs root for network namespaces');
}

export interface Client {
  readonly process: ChildProcess;
  /** What it has written so far. */
  output(): string;
  readonly ended: Promise<number | null>;
}

/** Starts a client; it is ended with the test. */
export function start(command: string, args: readonly string[], cwd?: string): Client {
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd === undefined ? {} : { cwd }),
  });
  let output = '';
  const keep = (bytes: Buffer): void => {
    output = `${output}${bytes}`.slice(-100_000);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const ended = new Promise<number | null>((resolve) => {
    child.once('error', () => resolve(-1));
    child.once('exit', (code) => resolve(code));
  });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return { process: child, output: () => output, ended };
}

export function aria2(torrent: string, folder: string, ...more: readonly string[]): Client {
  const quiet = [
    '--enable-dht=false',
    '--enable-dht6=false',
    '--bt-enable-lpd=false',
    '--enable-peer-exchange=false',
  ];
  const plain = [
    '--console-log-level=warn',
    '--summary-interval=0',
    '--follow-torrent=mem',
    '--allow-overwrite=true',
  ];
  return start('aria2c', [...quiet, ...plain, '--bt-stop-timeout=60', `--dir=${folder}`, ...more, torrent]);
}

const LIBTORRENT = `
import libtorrent as lt, sys, time, json
o = json.loads(sys.argv[1])
s = lt.session({'listen_interfaces': o['listen'], 'enable_dht': False, 'enable_lsd': False, 'enable_upnp': False,
  'enable_natpmp': False, 'allow_multiple_connections_per_ip': True, 'alert_mask': 0,
  'in_enc_policy': o['encryption'], 'out_enc_policy': o['encryption'], 'allowed_enc_level': o['level']})
if 'magnet' in o:
  p = lt.parse_magnet_uri(o['magnet'])
else:
  p = lt.add_torrent_params()
  p.ti = lt.torrent_info(o['torrent'])
p.save_path = o['folder']
t = s.add_torrent(p)
for host, port in o['peers']:
  t.connect_peer((host, port))
print('port', s.listen_port(), flush=True)
while True:
  st = t.status()
  print('state', int(st.is_seeding), st.total_payload_download, st.total_payload_upload, st.num_peers, flush=True)
  time.sleep(0.2)
`;

export interface LibtorrentOptions {
  readonly torrent?: string;
  readonly magnet?: string;
  readonly folder: string;
  readonly peers?: readonly (readonly [string, number])[];
  readonly listen?: string;
  /** plain: none; forced: all connections encrypted, with RC4. */
  readonly encryption?: 'plain' | 'forced';
}

export function libtorrent(options: LibtorrentOptions): Client {
  // libtorrent's numbers: policy 0 forced, 2 disabled; level 2 RC4, 3 both.
  const encryption =
    options.encryption === 'forced' ? { encryption: 0, level: 2 } : { encryption: 2, level: 3 };
  const { torrent, magnet, folder, peers = [], listen = '127.0.0.1:0' } = options;
  return start('/usr/bin/python3', [
    '-c',
    LIBTORRENT,
    JSON.stringify({ torrent, magnet, folder, peers, listen, ...encryption }),
  ]);
}

/** The last state that a libtorrent client told. */
export function stateOf(client: Client): {
  seeding: boolean;
  downloaded: number;
  uploaded: number;
  peers: number;
} {
  const lines = client
    .output()
    .split('\n')
    .filter((line) => line.startsWith('state '));
  const [, seeding, downloaded = 0, uploaded = 0, peers = 0] = (lines.at(-1) ?? '').split(' ').map(Number);
  return { seeding: seeding === 1, downloaded, uploaded, peers };
}

/** Two network namespaces with a wire between them: 10.77.0.1 here, 10.77.0.2 inside. */
export function namespace(): { readonly name: string; readonly here: string; readonly there: string } {
  const id = `${process.pid % 10_000}`;
  const [name, outside, inside] = [`pw${id}`, `pwo${id}`, `pwi${id}`];
  const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: 'pipe' });
  ip('netns', 'add', name);
  onTestFinished(() => ip('netns', 'delete', name));
  ip('link', 'add', outside, 'type', 'veth', 'peer', 'name', inside, 'netns', name);
  ip('addr', 'add', '10.77.0.1/24', 'dev', outside);
  ip('link', 'set', outside, 'up');
  ip('-n', name, 'addr', 'add', '10.77.0.2/24', 'dev', inside);
  ip('-n', name, 'link', 'set', inside, 'up');
  ip('-n', name, 'link', 'set', 'lo', 'up');
  return { name, here: '10.77.0.1', there: '10.77.0.2' };
}
