// Compiles the hub with the solc of node_modules and writes one artifact per form to build/contracts/.
// These artifacts are what the engine deploys and what the forge tests deploy, so that what is tested is
// what is deployed. Same sources and settings give the same files, byte for byte.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const sourceFolder = join(root, 'contracts', 'src');
const outputFolder = join(root, 'build', 'contracts');
const contractNames = ['NativeHub', 'TokenHub'];

// The optimizer counts on a settle of many rows, not on a cheap deployment. The metadata carries the
// compiler's version but no hash of the sources, so that a comment cannot change the bytecode.
const settings = {
  evmVersion: 'berlin',
  optimizer: { enabled: true, runs: 1_000_000 },
  viaIR: true,
  metadata: { bytecodeHash: 'none' },
};
const outputs = [
  'abi',
  'evm.bytecode.object',
  'evm.deployedBytecode.object',
  'evm.deployedBytecode.immutableReferences',
];

function standardInput() {
  const sources = {};
  for (const file of readdirSync(sourceFolder).sort()) {
    if (file.endsWith('.sol'))
      sources[`src/${file}`] = { content: readFileSync(join(sourceFolder, file), 'utf8') };
  }
  return {
    language: 'Solidity',
    sources,
    settings: { ...settings, outputSelection: { '*': { '*': outputs } } },
  };
}

const solc = createRequire(import.meta.url)('solc');
const output = JSON.parse(solc.compile(JSON.stringify(standardInput())));
const problems = output.errors ?? [];
for (const problem of problems) process.stderr.write(problem.formattedMessage);
if (problems.some((problem) => problem.severity !== 'info')) process.exit(1);

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
