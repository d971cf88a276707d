/**
 * Makes voucher.json and voucher-mutations.json from a fixed seed, with ethers as the independent source:
 * nothing of this repository's own code takes part. Run `node test/vectors/make-vouchers.mjs` from the
 * repository; with `--check` it writes nothing and fails if the files differ from what it would write.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import {
  computeAddress,
  concat,
  dataLength,
  getBytes,
  hexlify,
  id,
  keccak256,
  recoverAddress,
  SigningKey,
  TypedDataEncoder,
  toBeHex,
} from 'ethers';

const N = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const HALF = (N - 1n) / 2n;
const AMOUNT_MAX = (1n << 96n) - 1n;
const TYPES = {
  Voucher: [
    { name: 'payee', type: 'address' },
    { name: 'cumulativeAmount', type: 'uint256' },
  ],
};
const CHAINS = [199n, 1029n, 1n, 31337n, (1n << 64n) - 1n];

const seed = id('piecework voucher vectors 1');
const random = (name, at) => keccak256(concat([seed, id(name), toBeHex(BigInt(at), 8)]));
const randomAddress = (name, at) => hexlify(getBytes(random(name, at)).slice(12));
const domainOf = (chainId, hub) => ({ name: 'Piecework', version: '1', chainId, verifyingContract: hub });
const digestOf = (chainId, hub, payee, amount) =>
  TypedDataEncoder.hash(domainOf(chainId, hub), TYPES, { payee, cumulativeAmount: amount });
const rowOf = (amount, r, vs) => concat([toBeHex(amount, 12), toBeHex(r, 32), toBeHex(vs, 32)]);

function amountOf(at) {
  const special = [0n, 1n, 255n, 256n, (1n << 53n) + 1n, 1n << 64n, AMOUNT_MAX - 1n, AMOUNT_MAX];
  if (at < special.length) return special[at];
  const bits = BigInt(1 + (at % 96));
  return BigInt(random('amount', at)) & ((1n << bits) - 1n);
}

function makeRecord(at) {
  const chainId = CHAINS[at % CHAINS.length];
  const hub = randomAddress('hub', at % 7);
  const privateKey = random('key', at);
  const payee = randomAddress('payee', at);
  const amount = amountOf(at);
  const digest = digestOf(chainId, hub, payee, amount);
  const { r, yParityAndS } = new SigningKey(privateKey).sign(digest);
  return {
    chainId: chainId.toString(),
    hub,
    privateKey,
    voucherKey: computeAddress(privateKey).toLowerCase(),
    payee,
    amount: amount.toString(),
    domainSeparator: TypedDataEncoder.hashDomain(domainOf(chainId, hub)),
    digest,
    row: rowOf(amount, BigInt(r), BigInt(yParityAndS)),
  };
}

/** The status by voucher.md 4, from ethers' recovery and plain integers. */
function statusOf({ chainId, hub, voucherKey, payee, row }) {
  const bytes = getBytes(row);
  const int = (from, to) => BigInt(hexlify(bytes.slice(from, to)));
  const [amount, r, vs] = [int(0, 12), int(12, 44), int(44, 76)];
  const s = vs & ((1n << 255n) - 1n);
  if (r === 0n || r >= N || s === 0n || s > HALF) return 'bad_range';
  try {
    const signature = { r: toBeHex(r, 32), s: toBeHex(s, 32), yParity: vs >> 255n === 1n ? 1 : 0 };
    const signer = recoverAddress(digestOf(BigInt(chainId), hub, payee, amount), signature);
    return signer.toLowerCase() === voucherKey ? 'ok' : 'bad_signature';
  } catch {
    return 'bad_signature';
  }
}

function* mutate(record, at) {
  const { chainId, hub, voucherKey, payee, row } = record;
  const claim = { chainId, hub, voucherKey, payee, row };
  const amount = BigInt(record.amount);
  const r = BigInt(hexlify(getBytes(row).slice(12, 44)));
  const vs = BigInt(hexlify(getBytes(row).slice(44)));
  const parity = vs & (1n << 255n);
  const s = vs - parity;
  const signature = (r2, vs2) => ({ ...claim, row: rowOf(amount, r2, vs2) });
  yield ['unchanged', claim];
  yield ['parity flipped', signature(r, vs ^ (1n << 255n))];
  yield ['n − s in place of s', signature(r, N - s)];
  yield ['s just above n/2', signature(r, parity | (HALF + 1n))];
  yield ['s = (n − 1)/2', signature(r, parity | HALF)];
  yield ['s = 2^255 − 1', signature(r, parity | ((1n << 255n) - 1n))];
  yield ['s = 0', signature(r, parity)];
  yield ['r = 0', signature(0n, vs)];
  yield ['r = n', signature(N, vs)];
  yield ['r = n − 1', signature(N - 1n, vs)];
  yield ['r = 2^256 − 1', signature((1n << 256n) - 1n, vs)];
  yield ['r + 1', signature(r + 1n, vs)];
  yield ['r = 5, not on the curve', signature(5n, vs)];
  yield ['r = 0 and s = 0', signature(0n, 0n)];
  yield ['another chain', { ...claim, chainId: (BigInt(chainId) ^ 1n).toString() }];
  yield ['another hub', { ...claim, hub: randomAddress('other hub', at) }];
  yield ['another payee', { ...claim, payee: randomAddress('other payee', at) }];
  yield ['another voucher key', { ...claim, voucherKey: randomAddress('other key', at) }];
  yield ['another amount', { ...claim, row: rowOf(amount ^ 1n, r, vs) }];
  for (let nth = 0; nth < 12; nth++) {
    const bit = Number(BigInt(random('bit', at * 100 + nth)) % 608n);
    const bytes = getBytes(row);
    bytes[bit >> 3] ^= 1 << (bit & 7);
    yield [`bit ${bit} flipped`, { ...claim, row: hexlify(bytes) }];
  }
}

const records = Array.from({ length: 1024 }, (_, at) => makeRecord(at));
const mutations = [];
for (let at = 0; at < 48; at++) {
  for (const [name, claim] of mutate(records[at * 21], at)) {
    if (dataLength(claim.row) !== 76) throw new Error(`${name}: a row of another size`);
    mutations.push({ name, ...claim, status: statusOf(claim) });
  }
}

let differs = false;
for (const [name, rows] of [
  ['voucher.json', records],
  ['voucher-mutations.json', mutations],
]) {
  const path = new URL(name, import.meta.url);
  const text = `[\n${rows.map((row) => JSON.stringify(row)).join(',\n')}\n]\n`;
  if (!process.argv.includes('--check')) writeFileSync(path, text);
  else if (readFileSync(path, 'utf8') !== text) differs = true;
}
if (differs) {
  process.stderr.write('the vectors differ from what this script makes\n');
  process.exitCode = 1;
}
