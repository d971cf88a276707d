/**
 * `piecework tower`: a process that holds claims for others and settles them when their payers close, the clients it
 * serves, and what towers say of our own claims.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { readClaims } from '../engine/towers/client.js';
import * as Clients from '../engine/towers/clients.js';
import type { ClaimsPage, TowerStatus } from '../engine/towers/protocol.js';
import { createTower } from '../engine/towers/tower.js';
import { ERRORS, type ErrorCode, fileErrorCode, PieceworkError } from '../errors.js';
import { type CommonFlags, contextOf, interruption, unlock } from './context.js';
import * as Output from './output.js';

interface RunFlags extends CommonFlags {
  readonly listen?: string;
  readonly gasPerDay?: string;
  readonly grace?: string;
  readonly dust?: boolean;
}

/** How commands of this data folder reach the running tower. */
interface Note {
  readonly host: string;
  readonly port: number;
  readonly token: string;
}

const noteFile = (dataDir: string): string => join(dataDir, 'tower.json');
const random = (size: number): Uint8Array => new Uint8Array(randomBytes(size));

export function addTowerCommands(program: Command): void {
  const tower = program
    .command('tower')
    .description('hold claims for others, or for your other box, and settle them when their payers close');
  tower
    .command('run')
    .description('run a tower until Ctrl-C; it needs a data folder and a small wallet of its own, for gas')
    .option('--listen <address>', 'where clients connect (default: 127.0.0.1:7881); port 0 takes a free one')
    .option('--max-gas <amount>', 'the most the gas of one transaction may cost')
    .option('--gas-per-day <amount>', 'the most gas for one client may cost in a day (default: 3000BTT)')
    .option('--grace <seconds>', 'how long after a close request others may settle first')
    .option('--dust', 'settle also what is worth less than its gas')
    .action(async (_options, command: Command) => run(command.optsWithGlobals<RunFlags>()));
  tower
    .command('status')
    .description('what the tower of this data folder holds, and whether it can pay for it')
    .action(async (_options, command: Command) => {
      const flags = command.optsWithGlobals<CommonFlags>();
      const status = await askOperator(contextOf(flags).config.dataDir);
      return flags.json ? Output.json(status) : showStatus(status);
    });
  tower
    .command('add-client <name>')
    .description('let somebody use the tower, and print the token to give to them')
    .option('--token-out <file>', 'write the token there instead of printing it')
    .action(async (name: string, _options, command: Command) => {
      const flags = command.optsWithGlobals<CommonFlags & { tokenOut?: string }>();
      const { dataDir } = contextOf(flags).config;
      const token = Clients.addClient(dataDir, name, random);
      if (flags.tokenOut !== undefined)
        writeToken(flags.tokenOut, token, () => Clients.removeClient(dataDir, name));
      const shown = flags.tokenOut === undefined ? { token } : { tokenFile: flags.tokenOut };
      if (flags.json) return Output.json({ client: name, ...shown });
      Output.line(flags.tokenOut === undefined ? token : `token of ${name} written to ${flags.tokenOut}`);
    });
  tower
    .command('remove-client <name>')
    .description('let somebody use the tower no more; what it holds for them is erased')
    .action(async (name: string, _options, command: Command) => {
      const flags = command.optsWithGlobals<CommonFlags>();
      Clients.removeClient(contextOf(flags).config.dataDir, name);
      return flags.json ? Output.json({ removed: name }) : Output.line(`${name} is removed`);
    });
  tower
    .command('claims')
    .description('what the towers that you use hold for you')
    .option('--tower <url,token-file...>', 'ask these instead of the configured ones')
    .action(async (_options, command: Command) =>
      claims(command.optsWithGlobals<CommonFlags & { tower?: string[] }>()),
    );
}

async function run(flags: RunFlags): Promise<void> {
  const context = contextOf({
    ...flags,
    ...(flags.listen === undefined ? {} : { towerListen: flags.listen }),
    ...(flags.gasPerDay === undefined ? {} : { towerGasPerDay: flags.gasPerDay }),
    ...(flags.grace === undefined ? {} : { towerGrace: flags.grace }),
    ...(flags.dust ? { towerDust: true } : {}),
  });
  const { config } = context;
  const [{ pino }, { startTowerServer }] = await Promise.all([
    import('pino'),
    import('../api/tower-server.js'),
  ]);
  const log = pino({ level: config.daemon.logLevel, base: null }, pino.destination(2));
  const stop = interruption();
  const account = await unlock(context);
  const tower = await createTower({ config, account, onEvent: ({ level, text }) => log[level](text) });
  try {
    const { host } = config.tower;
    const token = randomBytes(32).toString('hex');
    const server = await startTowerServer({
      tower,
      authenticate: (given) => tower.clients.authenticate(given),
      operatorToken: token,
      host,
      port: config.tower.port,
    });
    const note: Note = { host, port: server.port, token };
    writeFileSync(noteFile(config.dataDir), `${JSON.stringify(note)}\n`, { mode: 0o600 });
    if (!/^(localhost|127\.\d+\.\d+\.\d+|::1)$/.test(host))
      log.warn(
        `listening on ${host} in plain HTTP: put TLS in front of it, or tokens can be read on the way`,
      );
    try {
      const status = await tower.status();
      report(flags, status, `${urlHost(host)}:${server.port}`);
      await Promise.race([aborted(stop.signal), tower.failed]);
    } finally {
      rmSync(noteFile(config.dataDir), { force: true });
      await server.close();
    }
  } finally {
    await tower.close();
  }
}

function report(flags: CommonFlags, status: TowerStatus, listen: string): void {
  if (flags.json) return Output.json({ event: 'tower', url: `http://${listen}`, ...status });
  Output.line(`Tower at http://${listen}`);
  showStatus(status);
  Output.line('Ctrl-C stops; nothing that is held is lost.');
}

function showStatus(status: TowerStatus): void {
  Output.line(`  hub          ${status.hub} on chain ${status.chainId}, as of block ${status.block}`);
  Output.line(`  wallet       ${status.address} holds ${Output.amount(status.balance)}`);
  const enough = status.funded ? 'enough' : 'NOT ENOUGH: send BTT to the wallet';
  Output.line(`  gas needed   ${Output.amount(status.gasNeeded)} to settle all: ${enough}`);
  Output.table(
    ['client', 'claims', 'held', 'in flight', 'settled', 'skipped', 'worth', 'gas today'],
    status.clients.map(({ name, claims: count, states, worth, gasToday }) => [
      name,
      ...[count, states.held, states.in_flight, states.settled, states.skipped].map(String),
      ...[worth, gasToday].map(Output.amount),
    ]),
    [1, 2, 3, 4, 5, 6, 7],
  );
}

async function claims(flags: CommonFlags & { readonly tower?: string[] }): Promise<void> {
  const { config } = contextOf({ ...flags, ...(flags.tower ? { towers: flags.tower } : {}) });
  if (config.towers.length === 0) throw new PieceworkError('BAD_CONFIG', 'no tower is named; add --tower');
  for (const place of config.towers) {
    const held = await readClaims(place);
    if (flags.json) Output.json({ tower: new URL(place.url).origin, ...held });
    else showClaims(place.url, held);
  }
}

function showClaims(url: string, { funded, claims: held }: Pick<ClaimsPage, 'funded' | 'claims'>): void {
  Output.line(`${url}: ${held.length} claims${funded ? '' : '; it does not hold the gas to settle them'}`);
  Output.table(
    ['voucher key', 'held', 'settled', 'state'],
    held.map(({ voucherKey, amount, settled, state, reason }) => [
      ...[voucherKey, Output.amount(amount), Output.amount(settled ?? '0')],
      reason === undefined ? state : `${state}: ${reason}`,
    ]),
    [1, 2],
  );
}

async function askOperator(dataDir: string): Promise<TowerStatus> {
  let note: Note;
  try {
    note = JSON.parse(readFileSync(noteFile(dataDir), 'utf8')) as Note;
  } catch (thrown) {
    throw new PieceworkError('NOT_FOUND', `no tower runs in ${dataDir}`, { cause: thrown });
  }
  // A tower that listens everywhere is reached at loopback.
  const host = ['0.0.0.0', '::'].includes(note.host) ? '127.0.0.1' : urlHost(note.host);
  const headers = { authorization: `Bearer ${note.token}` };
  let response: Response;
  try {
    response = await fetch(`http://${host}:${note.port}/v1/status`, { headers });
  } catch (thrown) {
    throw new PieceworkError('DAEMON_UNREACHABLE', (thrown as Error).message, { cause: thrown });
  }
  const value = (await response.json()) as TowerStatus & { code?: ErrorCode; detail?: string };
  if (response.ok) return value;
  const code = value.code !== undefined && Object.hasOwn(ERRORS, value.code) ? value.code : 'INTERNAL';
  throw new PieceworkError(code, value.detail);
}

function writeToken(path: string, token: string, takeBack: () => void): void {
  try {
    writeFileSync(path, `${token}\n`, { mode: 0o600, flag: 'wx' });
  } catch (thrown) {
    takeBack();
    throw new PieceworkError(fileErrorCode(thrown) ?? 'IO', `${path}: ${(thrown as Error).message}`, {
      cause: thrown,
    });
  }
}

function urlHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
