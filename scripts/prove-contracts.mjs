// Asks the model checker of solc to prove every assertion of contracts/test/SlotsProof.sol. Needs the solver
// z3 on the PATH; without it nothing is proven and the command ends with status 2. The proof's canary, a
// false assertion, must be refuted, and anything else that is not proven ends the command with status 1.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const contracts = join(dirname(fileURLToPath(import.meta.url)), '..', 'contracts');
const solc = createRequire(import.meta.url)('solc');
const proof = 'test/SlotsProof.sol';
const solverTimeoutMs = 60_000;

/** Answers one query of the checker; a query that takes too long stays unproven. */
function smtSolver(query) {
  const z3 = spawnSync('z3', ['-smt2', '-in'], { input: query, encoding: 'utf8', timeout: solverTimeoutMs });
  return z3.error === undefined ? { contents: z3.stdout } : { error: z3.error.message };
}

const version = spawnSync('z3', ['--version'], { encoding: 'utf8' });
if (version.status !== 0) {
  process.stderr.write(
    'prove-contracts: no z3 on the PATH, nothing was proven; on Debian: apt-get install z3\n',
  );
  process.exit(2);
}

const sources = {};
for (const path of [proof, 'src/Slots.sol'])
  sources[path] = { content: readFileSync(join(contracts, path), 'utf8') };
const modelChecker = {
  contracts: { [proof]: ['SlotsProof'] },
  engine: 'bmc',
  solvers: ['smtlib2'],
  targets: ['assert', 'underflow', 'overflow'],
  showProvedSafe: true,
  showUnproved: true,
};
const input = { language: 'Solidity', sources, settings: { evmVersion: 'berlin', modelChecker } };
const messages = JSON.parse(solc.compile(JSON.stringify(input), { smtSolver })).errors ?? [];

const proven = messages.filter((message) => message.message.endsWith('check is safe!'));
const others = messages.filter((message) => !proven.includes(message));
const source = sources[proof].content;
const canaryAt = source.indexOf('function canary');
const refuted = others.filter(
  (message) => message.sourceLocation?.file === proof && message.sourceLocation.start > canaryAt,
);
const open = others.filter((message) => !refuted.includes(message));
for (const message of open) process.stdout.write(message.formattedMessage);
if (refuted.length !== 1) process.stdout.write('the canary was not refuted\n');
process.stdout.write(
  `${proven.length} proven, ${open.length} open, with ${version.stdout.trim()} and solc ${solc.version()}\n`,
);
process.exit(open.length === 0 && refuted.length === 1 && proven.length > 0 ? 0 : 1);
