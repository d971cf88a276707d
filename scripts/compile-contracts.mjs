// Compiles the hub with the solc of node_modules and writes one artifact per form to build/contracts/.
// These artifacts are what the engine deploys and what the forge tests deploy, so that what is tested is
// what is deployed. Same sources and settings give the same files, byte for byte, in any folder.
//
//   node scripts/compile-contracts.mjs [--from SOURCES] [--to FOLDER] [--record]
//
// --record writes the hashes of the code to contracts/snapshots/Code.json, which a test compares. Whoever
// records a change says in the commit why every hub that is deployed from now on has other code.

import { mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const require = createRequire(import.meta.url);
const root = join(dirname(fileURLToPath(import.meta.url)), '..');
/** The forms of the hub. */
export const FORMS = ['NativeHub', 'TokenHub'];

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

/** The Solidity sources of a folder, text by file name. */
export function readSources(folder = join(root, 'contracts', 'src')) {
  const names = readdirSync(folder).filter((name) => name.endsWith('.sol'));
  return Object.fromEntries(names.sort().map((name) => [name, readFileSync(join(folder, name), 'utf8')]));
}

/**
 * Compiles sources (text by file name) and gives the artifact of each form asked for.
 * @throws Error with the compiler's words where it has anything to say.
 */
export function compile(sources, forms = FORMS) {
  const solc = require('solc');
  const pathOf = (name) => `src/${name}`;
  const selection = Object.fromEntries(forms.map((form) => [pathOf(`${form}.sol`), { [form]: outputs }]));
  const input = {
    language: 'Solidity',
    sources: Object.fromEntries(
      Object.entries(sources).map(([name, content]) => [pathOf(name), { content }]),
    ),
    settings: { ...settings, outputSelection: { '*': { '': ['ast'] }, ...selection } },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  const problems = (output.errors ?? []).filter((problem) => problem.severity !== 'info');
  if (problems.length > 0) throw new Error(problems.map((problem) => problem.formattedMessage).join('\n'));
  const names = new Map();
  for (const { ast } of Object.values(output.sources)) nameImmutables(ast, names);
  return forms.map((contractName) => {
    const { abi, evm } = output.contracts[pathOf(`${contractName}.sol`)][contractName];
    const { object, immutableReferences } = evm.deployedBytecode;
    return {
      contractName,
      abi,
      bytecode: `0x${evm.bytecode.object}`,
      deployedBytecode: `0x${object}`,
      immutableReferences: Object.fromEntries(
        Object.entries(immutableReferences).map(([id, places]) => [names.get(id), places]),
      ),
      compiler: solc.version(),
      settings,
    };
  });
}

/** Writes one file per artifact. */
export function writeArtifacts(artifacts, folder) {
  mkdirSync(folder, { recursive: true });
  for (const artifact of artifacts)
    writeFileSync(join(folder, `${artifact.contractName}.json`), `${JSON.stringify(artifact, null, 2)}\n`);
}

/** The names of immutables by the ids under which the compiler tells their places. */
function nameImmutables(node, names) {
  if (node === null || typeof node !== 'object') return;
  if (node.nodeType === 'VariableDeclaration' && node.mutability === 'immutable')
    names.set(String(node.id), node.name);
  for (const child of Object.values(node)) nameImmutables(child, names);
}

/** What a test and a reader compare: keccak256 of the creation code and of the runtime code's template. */
function hashesOf(artifacts) {
  const { keccak256 } = require('ethers');
  const forms = artifacts.map(({ contractName, bytecode, deployedBytecode }) => {
    const hashes = { creation: keccak256(bytecode), runtimeTemplate: keccak256(deployedBytecode) };
    return [contractName, { bytes: deployedBytecode.length / 2 - 1, ...hashes }];
  });
  return { compiler: artifacts[0].compiler, settings, ...Object.fromEntries(forms) };
}

function main() {
  const { values } = parseArgs({
    options: {
      from: { type: 'string' },
      to: { type: 'string' },
      record: { type: 'boolean', default: false },
    },
  });
  const folder = resolve(values.to ?? join(root, 'build', 'contracts'));
  const artifacts = compile(readSources(values.from));
  writeArtifacts(artifacts, folder);
  const hashes = hashesOf(artifacts);
  const text = `${JSON.stringify(hashes, null, 2)}\n`;
  writeFileSync(join(folder, 'Code.json'), text);
  if (values.record) writeFileSync(join(root, 'contracts', 'snapshots', 'Code.json'), text);
  const sizes = FORMS.map((form) => `${form} ${hashes[form].bytes} bytes`);
  process.stdout.write(`compiled ${sizes.join(', ')} with solc ${hashes.compiler} to ${folder}\n`);
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    main();
  } catch (error) {
    process.stderr.write(`compile-contracts: ${error.message}\n`);
    process.exit(1);
  }
}
