/**
 * Makes ticks.json from a fixed seed, with ethers as the independent source: nothing of this repository's own code
 * takes part. Run `node test/vectors/make-ticks.mjs` from the repository; with `--check` it writes nothing and
 * fails if the file differs from what it would write.
 *
 * In each record `amount`, `unit`, `length`, `count`, `tick` and `claim` are what the row says, `root` is where its
 * tick leads and `digest` what its signature must be over; `privateKey` and `end` are those of the chain the record
 * was made from, whatever a mutation did to it afterwards.
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
  sha256,
  TypedDataEncoder,
  toBeHex,
} from 'ethers';

const N = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const HALF = (N - 1n) / 2n;
const S_MASK = (1n << 255n) - 1n;
const AMOUNT_MAX = (1n << 96n) - 1n;
const LENGTH_MAX = 1024;
const TYPES = {
  TickVoucher: [
    { name: 'payee', type: 'address' },
    { name: 'cumulativeAmount', type: 'uint256' },
    { name: 'root', type: 'bytes32' },
    { name: 'unit', type: 'uint96' },
    { name: 'length', type: 'uint16' },
  ],
};
const PLAIN_TYPES = { Voucher: TYPES.TickVoucher.slice(0, 2) };
const CHAINS = [199n, 1029n, 1n, 31337n, (1n << 64n) - 1n];
const LENGTHS = [1, 2, 3, 15, 16, 64, 255, 256, 257, 512, 1000, 1023, 1024];
const GOOD = 288;
const MUTATED = 12;

const seed = id('piecework tick vectors 1');
const random = (name, at) => keccak256(concat([seed, id(name), toBeHex(BigInt(at), 8)]));
const randomBelow = (bound, name, at) => BigInt(random(name, at)) % bound;
const randomAddress = (name, at) => hexlify(getBytes(random(name, at)).slice(12));
const domainOf = ({ chainId, hub }) => ({
  name: 'Piecework',
  version: '1',
  chainId: BigInt(chainId),
  verifyingContract: hub,
});

/** `link` applied `times` times. */
function linked(value, times) {
  let reached = value;
  for (let step = 0; step < times; step++) reached = sha256(reached);
  return reached;
}

const digestOf = (of) =>
  TypedDataEncoder.hash(domainOf(of), TYPES, {
    payee: of.payee,
    cumulativeAmount: of.amount,
    root: of.root,
    unit: of.unit,
    length: of.length,
  });

function sign(privateKey, digest) {
  const { r, yParityAndS } = new SigningKey(privateKey).sign(digest);
  return { r: BigInt(r), vs: BigInt(yParityAndS) };
}

const rowOf = ({ amount, unit, length, count, tick, r, vs }) =>
  concat([
    toBeHex(amount, 12),
    toBeHex(unit, 12),
    toBeHex(length, 2),
    toBeHex(count, 2),
    tick,
    toBeHex(r, 32),
    toBeHex(vs, 32),
  ]);

function fieldsOf(row) {
  const bytes = getBytes(row);
  const int = (from, to) => BigInt(hexlify(bytes.slice(from, to)));
  return {
    amount: int(0, 12),
    unit: int(12, 24),
    length: Number(int(24, 26)),
    count: Number(int(26, 28)),
    tick: hexlify(bytes.slice(28, 60)),
    r: int(60, 92),
    vs: int(92, 124),
  };
}

/** A chain of some channel and the row of one tick of it. */
function makeGood(at) {
  const length = at < 4 * LENGTHS.length ? LENGTHS[at >> 2] : 1 + Number(randomBelow(1024n, 'length', at));
  const [unit, amount] = moneyOf(at, BigInt(length));
  const privateKey = random('key', at);
  const end = random('end', at);
  const count = [0, 1, length >> 1, length][at % 4];
  const made = {
    chainId: CHAINS[at % CHAINS.length].toString(),
    hub: randomAddress('hub', at % 7),
    privateKey,
    voucherKey: computeAddress(privateKey).toLowerCase(),
    payee: randomAddress('payee', at),
    amount,
    unit,
    length,
    end,
    count,
    root: linked(end, length),
    tick: linked(end, length - count),
  };
  return { ...made, ...sign(privateKey, digestOf(made)) };
}

/** Unit and amount, at the edges first; everything that the chain can claim fits 96 bits. */
function moneyOf(at, length) {
  const unitMax = AMOUNT_MAX / length;
  const edges = [
    [1n, 0n],
    [unitMax, AMOUNT_MAX - unitMax * length],
    [unitMax, 0n],
    [1n, AMOUNT_MAX - length],
    [1n, 1n],
    [(1n << 53n) + 1n, (1n << 64n) - 1n],
  ];
  if (at % 9 === 0) return edges[(at / 9) % edges.length];
  const unit = 1n + randomBelow(1n << BigInt(1 + (at % 85)), 'unit', at);
  return [unit, randomBelow(1n << BigInt(1 + (at % 95)), 'amount', at)];
}

/** The status by ticks.md 2, from ethers' recovery and plain integers. */
function statusOf({ voucherKey, ...claim }) {
  const { amount, unit, length, count, r, vs } = fieldsOf(claim.row);
  const s = vs & S_MASK;
  if (length < 1 || length > LENGTH_MAX || unit === 0n || count > length) return 'bad_range';
  if (amount + BigInt(length) * unit > AMOUNT_MAX) return 'bad_range';
  if (r === 0n || r >= N || s === 0n || s > HALF) return 'bad_range';
  try {
    const signature = { r: toBeHex(r, 32), s: toBeHex(s, 32), yParity: vs >> 255n === 1n ? 1 : 0 };
    return recoverAddress(claim.digest, signature).toLowerCase() === voucherKey ? 'ok' : 'bad_signature';
  } catch {
    return 'bad_signature';
  }
}

/** What goes into the file: the row, and whatever can be read from it. */
function recordOf(name, { chainId, hub, privateKey, voucherKey, payee, end, ...made }) {
  const row = made.row ?? rowOf(made);
  if (dataLength(row) !== 124) throw new Error(`${name}: a row of another size`);
  const { amount, unit, length, count, tick } = fieldsOf(row);
  const root = linked(tick, count);
  const digest = digestOf({ chainId, hub, payee, amount, root, unit, length });
  return {
    name,
    chainId,
    hub,
    privateKey,
    voucherKey,
    payee,
    amount: amount.toString(),
    unit: unit.toString(),
    length,
    end,
    root,
    digest,
    count,
    tick,
    row,
    claim: (amount + BigInt(count) * unit).toString(),
    status: statusOf({ voucherKey, row, digest }),
  };
}

function* mutate(good, at) {
  const { chainId, amount, unit, length, end, count, tick, root, r, vs, privateKey } = good;
  const parity = vs & (1n << 255n);
  const s = vs & S_MASK;
  const changed = (change) => ({ ...good, ...change });
  /** Signed as it stands, so that nothing but its range is wrong. */
  const resigned = (change) => {
    const made = changed(change);
    const reached = linked(made.tick, made.count);
    return { ...made, ...sign(privateKey, digestOf({ ...made, root: reached })) };
  };
  const room = BigInt(length) * unit;
  const unitMax = AMOUNT_MAX / BigInt(length);
  const tooHigh = { unit: unitMax, amount: AMOUNT_MAX - unitMax * BigInt(length) + 1n };

  yield ['unchanged', good];
  // Range.
  yield ['length 0', changed({ length: 0 })];
  yield ['length 0 and count 0, signed', resigned({ length: 0, count: 0 })];
  yield ['length 1,025, signed', resigned({ length: 1025 })];
  yield ['length 65,535, signed', resigned({ length: 65_535 })];
  yield ['length 1,024, signed', resigned({ length: 1024 })];
  yield ['unit 0', changed({ unit: 0n })];
  yield ['unit 0, signed', resigned({ unit: 0n })];
  yield ['count one above the length, signed', resigned({ count: length + 1 })];
  yield ['count 65,535', changed({ count: 65_535 })];
  yield ['the end claims one too much, signed', resigned({ amount: AMOUNT_MAX - room + 1n })];
  yield ['the end claims the most there is, signed', resigned({ amount: AMOUNT_MAX - room })];
  yield [
    'the end would claim one too much, the root shown, signed',
    resigned({ ...tooHigh, count: 0, tick: root }),
  ];
  yield ['r = 0', changed({ r: 0n })];
  yield ['r = n', changed({ r: N })];
  yield ['r = 2^256 − 1', changed({ r: (1n << 256n) - 1n })];
  yield ['s = 0', changed({ vs: parity })];
  yield ['s just above n/2', changed({ vs: parity | (HALF + 1n) })];
  yield ['s = 2^255 − 1', changed({ vs: parity | S_MASK })];
  yield ['n − s in place of s', changed({ vs: (N - s) & ((1n << 256n) - 1n) })];
  // Signature.
  yield ['s = (n − 1)/2', changed({ vs: parity | HALF })];
  yield ['parity flipped', changed({ vs: vs ^ (1n << 255n) })];
  yield ['r + 1', changed({ r: r + 1n })];
  yield ['r = 5, not on the curve', changed({ r: 5n })];
  yield ['another chain id', changed({ chainId: (BigInt(chainId) ^ 1n).toString() })];
  yield ['another hub', changed({ hub: randomAddress('other hub', at) })];
  yield ['another payee', changed({ payee: randomAddress('other payee', at) })];
  yield ['another voucher key', changed({ voucherKey: randomAddress('other key', at) })];
  yield ['another amount', changed({ amount: amount ^ 1n })];
  yield ['another unit', changed({ unit: unit ^ 1n })];
  yield ['one longer', changed({ length: length + 1 })];
  yield ['one shorter', changed({ length: length - 1 })];
  yield ['a count below the tick', changed({ count: count - 1 < 0 ? length : count - 1 })];
  yield ['a count above the tick', changed({ count: count + 1 })];
  yield ['the root at another count', changed({ count: count === 0 ? 1 : count, tick: root })];
  yield ['the end at another count', changed({ count: count === length ? count - 1 : count, tick: end })];
  yield ['another tick', changed({ tick: random('other tick', at) })];
  yield [
    'the signature of a plain voucher',
    changed(
      sign(
        privateKey,
        TypedDataEncoder.hash(domainOf(good), PLAIN_TYPES, { payee: good.payee, cumulativeAmount: amount }),
      ),
    ),
  ];
  // Other ticks of the same chain are as good.
  if (count > 0) yield ['the tick before', changed({ count: count - 1, tick: sha256(tick) })];
  yield ['the root', changed({ count: 0, tick: root })];
  yield ['the end', changed({ count: length, tick: end })];
  for (let nth = 0; nth < 16; nth++) {
    const bit = Number(randomBelow(992n, 'bit', at * 100 + nth));
    const bytes = getBytes(rowOf(good));
    bytes[bit >> 3] ^= 1 << (bit & 7);
    yield [`bit ${bit} flipped`, { ...good, row: hexlify(bytes) }];
  }
}

const goods = Array.from({ length: GOOD }, (_, at) => makeGood(at));
const records = goods.map((good) => recordOf('good', good));
const broken = records.find(({ status, root }, at) => status !== 'ok' || root !== goods[at].root);
if (broken) throw new Error(`a good row is not: ${JSON.stringify(broken)}`);
for (let at = 0; at < MUTATED; at++) {
  for (const [name, made] of mutate(goods[at * 23 + (at % 4)], at)) records.push(recordOf(name, made));
}

const path = new URL('ticks.json', import.meta.url);
const text = `[\n${records.map((record) => JSON.stringify(record)).join(',\n')}\n]\n`;
if (!process.argv.includes('--check')) writeFileSync(path, text);
else if (readFileSync(path, 'utf8') !== text) {
  process.stderr.write('the vectors differ from what this script makes\n');
  process.exitCode = 1;
}
