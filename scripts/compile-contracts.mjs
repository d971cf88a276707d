// Compiles the hub with the solc of node_modules and writes one artifact per form to build/contracts/.
// The settings are read from contracts/foundry.toml, so that what forge tests is what gets deployed;
// a forge test compares the bytecode byte by byte. Same sources and settings give the same files.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const sourceFolder = join(root, 'contracts', 'src');
const outputFolder = join(root, 'build', 'contracts');
const contractNames = ['NativeHub', 'TokenHub'];

/** The value of one key of the default profile of foundry.toml; a missing key is an error. */
function setting(toml, key) {
  const profile = /\[profile\.default\]\n([\s\S]*?)(?=\n\[|$)/.exec(toml)?.[1] ?? '';
  const value = new RegExp(`^${key} = (.+)$`, 'm').exec(profile)?.[1];
  if (value === undefined) throw new Error(`contracts/foundry.toml: no ${key} in [profile.default]`);
  return JSON.parse(value);
}

function standardInput() {
  const toml = readFileSync(join(root, 'contracts', 'foundry.toml'), 'utf8');
  const sources = {};
  for (const file of readdirSync(sourceFolder).sort()) {
    if (file.endsWith('.sol')) sources[`src/${file}`] = { content: readFileSync(join(sourceFolder, file), 'utf8') };
  }
  const settings = {
    evmVersion: setting(toml, 'evm_version'),
    optimizer: { enabled: setting(toml, 'optimizer'), runs: setting(toml, 'optimizer_runs') },
    viaIR: setting(toml, 'via_ir'),
    metadata: { bytecodeHash: setting(toml, 'bytecode_hash') },
    outputSelection: {
      '*': { '*': ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object', 'evm.deployedBytecode.immutableReferences'] },
    },
  };
  return { language: 'Solidity', sources, settings };
}

const solc = createRequire(import.meta.url)('solc');
const input = standardInput();
const output = JSON.parse(solc.compile(JSON.stringify(input)));
const problems = output.errors ?? [];
for (const problem of problems) process.stderr.write(problem.formattedMessage);
if (problems.some((problem) => problem.severity !== 'info')) process.exit(1);

const { outputSelection: _, ...settings } = input.settings;
mkdirSync(outputFolder, { recursive: true });
const sizes = contractNames.map((contractName) => {
  const { abi, evm } = output.contracts[`src/${contractName}.sol`][contractName];
  const artifact = {
    contractName,
    abi,
    bytecode: `0x${evm.bytecode.object}`,
    deployedBytecode: `0x${evm.deployedBytecode.object}`,
    immutableReferences: evm.deployedBytecode.immutableReferences,
    compiler: solc.version(),
    settings,
  };
  writeFileSync(join(outputFolder, `${contractName}.json`), `${JSON.stringify(artifact, null, 2)}\n`);
  return `${contractName} ${evm.deployedBytecode.object.length / 2} bytes`;
});
process.stdout.write(`compiled ${sizes.join(', ')} with solc ${solc.version()} to build/contracts\n`);
