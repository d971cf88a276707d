// Compiles the hub with the solc of node_modules and writes one artifact per form to build/contracts/.
// These artifacts are what the engine deploys and what the forge tests deploy, so that what is tested is
// what is deployed.
//
//   node scripts/compile-contracts.mjs [--from SOURCES] [--to FOLDER] [--record]
//
// --record writes the hashes of the code to contracts/snapshots/Code.json, which a test compares. Whoever
// records a change says in the commit why every hub that is deployed from now on has other code.

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { keccak256 } from 'ethers';
import { compile, readSources } from './hub-compiler.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** Writes one file per artifact. */
function writeArtifacts(artifacts, folder) {
  mkdirSync(folder, { recursive: true });
  for (const artifact of artifacts)
    writeFileSync(join(folder, `${artifact.contractName}.json`), `${JSON.stringify(artifact, null, 2)}\n`);
}

/** What a test and a reader compare: keccak256 of the creation code and of the runtime code's template. */
function hashesOf(artifacts) {
  const forms = artifacts.map(({ contractName, bytecode, deployedBytecode }) => {
    const hashes = { creation: keccak256(bytecode), runtimeTemplate: keccak256(deployedBytecode) };
    return [contractName, { bytes: deployedBytecode.length / 2 - 1, ...hashes }];
  });
  const [{ compiler, settings }] = artifacts;
  return { compiler, settings, ...Object.fromEntries(forms) };
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
  const sizes = artifacts.map(({ contractName: form }) => `${form} ${hashes[form].bytes} bytes`);
  process.stdout.write(`compiled ${sizes.join(', ')} with solc ${hashes.compiler} to ${folder}\n`);
}

try {
  main();
} catch (error) {
  process.stderr.write(`compile-contracts: ${error.message}\n`);
  process.exit(1);
}
