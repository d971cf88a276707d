// How the hub is compiled: sources, settings, artifacts. Same sources and settings give the same artifacts, byte
// for byte, in any folder. As a worker thread it compiles what it is sent, mutants of the hub for instance,
// which is much faster than a process for each.

import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parentPort } from 'node:worker_threads';

const require = createRequire(import.meta.url);
const sourceFolder = join(dirname(fileURLToPath(import.meta.url)), '..', 'contracts', 'src');
/** The forms of the hub. */
const FORMS = ['NativeHub', 'TokenHub'];

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
export function readSources(folder = sourceFolder) {
  const names = readdirSync(folder).filter((name) => name.endsWith('.sol'));
  return Object.fromEntries(names.sort().map((name) => [name, readFileSync(join(folder, name), 'utf8')]));
}

/**
 * Compiles sources (text by file name) and gives the artifact of each form.
 * @throws Error with the compiler's words where it has anything to say.
 */
export function compile(sources) {
  const output = run(sources, FORMS, { '*': { '': ['ast'] } });
  const problems = (output.errors ?? []).filter(({ severity }) => severity !== 'info');
  if (problems.length > 0) throw new Error(wordsOf(problems));
  const names = new Map();
  for (const { ast } of Object.values(output.sources)) nameImmutables(ast, names);
  return FORMS.map((contractName) => {
    const { abi, evm } = contractOf(output, contractName);
    const { object, immutableReferences } = evm.deployedBytecode;
    return {
      contractName,
      abi,
      bytecode: `0x${evm.bytecode.object}`,
      deployedBytecode: `0x${object}`,
      immutableReferences: Object.fromEntries(
        Object.entries(immutableReferences).map(([id, places]) => [names.get(id), places]),
      ),
      compiler: require('solc').version(),
      settings,
    };
  });
}

/** The creation code of one form, or what the compiler refuses. Warnings pass: a mutant may earn some. */
function compileOne({ sources, form }) {
  const output = run(sources, [form], {});
  const errors = (output.errors ?? []).filter(({ severity }) => severity === 'error');
  if (errors.length > 0) return { problem: wordsOf(errors) };
  return { bytecode: `0x${contractOf(output, form).evm.bytecode.object}` };
}

function run(sources, forms, more) {
  const selection = Object.fromEntries(forms.map((form) => [pathOf(form), { [form]: outputs }]));
  const input = {
    language: 'Solidity',
    sources: Object.fromEntries(
      Object.entries(sources).map(([name, content]) => [`src/${name}`, { content }]),
    ),
    settings: { ...settings, outputSelection: { ...more, ...selection } },
  };
  return JSON.parse(require('solc').compile(JSON.stringify(input)));
}

const pathOf = (form) => `src/${form}.sol`;
const contractOf = (output, form) => output.contracts[pathOf(form)][form];
const wordsOf = (problems) => problems.map((problem) => problem.formattedMessage).join('\n');

/** The names of immutables by the ids under which the compiler tells their places. */
function nameImmutables(node, names) {
  if (node === null || typeof node !== 'object') return;
  if (node.nodeType === 'VariableDeclaration' && node.mutability === 'immutable')
    names.set(String(node.id), node.name);
  for (const child of Object.values(node)) nameImmutables(child, names);
}

parentPort?.on('message', (message) => parentPort.postMessage(compileOne(message)));
