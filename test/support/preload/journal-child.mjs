// Commits prepared batches to a ledger and prints the number of each once it is durable; killed on the way.
// Arguments: the addon, the ledger's folder, the file of batches, how many of them are in the ledger already,
// and "early" for the canary that acknowledges before it commits.
import { readFileSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';

const [addonPath, folder, file, skip, order] = process.argv.slice(2);
const addon = createRequire(import.meta.url)(addonPath);
const batches = JSON.parse(readFileSync(file, 'utf8'));
const bytes = (text) => new Uint8Array(Buffer.from(text, 'base64'));
const place = batches.place;
const seed = bytes(place.seed);
const { handle } = addon.ledgerOpen(
  folder,
  BigInt(place.chainId),
  bytes(place.hub),
  place.segmentBytes,
  seed,
);
for (let at = Number(skip); at < batches.list.length; at++) {
  const { commands, blobs } = batches.list[at];
  if (order === 'early') writeSync(1, `${at + 1}\n`);
  addon.ledgerCommit(handle, bytes(commands), bytes(blobs));
  if (order !== 'early') writeSync(1, `${at + 1}\n`);
}
addon.ledgerClose(handle);
