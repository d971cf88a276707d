// Makes test/vectors/wire.json from docs/spec/wire.md alone: ethers for digests and signatures, plain concatenation
// for the bytes. It shares no code with src/, so that the two check each other. Run: node test/vectors/make-wire.mjs
import { writeFileSync } from 'node:fs';
import { ethers } from 'ethers';

const COUNT = 16;
let state = 20261122n;
function random(bytes) {
  let out = '';
  while (out.length < bytes * 2) {
    state = (state * 6364136223846793005n + 1442695040888963407n) & ((1n << 64n) - 1n);
    out += (state >> 32n).toString(16).padStart(8, '0');
  }
  return `0x${out.slice(0, bytes * 2)}`;
}
const number = (bytes) => BigInt(random(bytes));
const hex = (value, bytes) =>
  BigInt(value)
    .toString(16)
    .padStart(bytes * 2, '0');
const join = (...parts) => `0x${parts.map((part) => part.replace(/^0x/, '')).join('')}`;
const compact = (signature) => join(signature.r, signature.yParityAndS);
const zeros = (bytes) => '00'.repeat(bytes);

const TYPES = {
  Offer:
    'address payee,uint96 priceMiB,uint64 windowBytes,uint96 minStep,uint96 prepay,uint64 expiry,bytes16 nonce,bytes20 infohash,uint32 challengePeriod,address delegate,uint16 tickLength',
  Accept:
    'bytes32 offer,bytes16 nonce,address voucherKey,uint96 prepay,bytes20 payerPeerId,bytes20 payeePeerId,bytes20 infohash',
  Delegation: 'address payee,address delegate,uint64 expiry',
  Receipt:
    'bytes16 session,bytes20 infohash,bytes32 offer,uint64 bytes,uint96 amount,uint96 head,uint64 time,address payee,address voucherKey',
  Voucher: 'address payee,uint256 cumulativeAmount',
  TickVoucher: 'address payee,uint256 cumulativeAmount,bytes32 root,uint96 unit,uint16 length',
};
function digest(domain, name, value) {
  const fields = TYPES[name]
    .split(',')
    .map((field) => field.split(' '))
    .map(([type, name]) => ({ type, name }));
  return ethers.TypedDataEncoder.hash(domain, { [name]: fields }, value);
}

const vectors = [];
for (let index = 0; index < COUNT; index++) {
  const [payee, delegate, voucher] = [random(32), random(32), random(32)].map(
    (key) => new ethers.SigningKey(key),
  );
  const address = (key) => ethers.computeAddress(key.publicKey).toLowerCase();
  const chainId = index % 2 === 0 ? 199n : number(4);
  const hub = random(20);
  const domain = { name: 'Piecework', version: '1', chainId, verifyingContract: hub };
  const signer = index % 4 === 3 ? payee : delegate;
  const expiry = number(4);
  const offer = {
    payee: address(payee),
    priceMiB: number(9),
    windowBytes: number(4),
    minStep: number(8),
    prepay: number(9),
    expiry: number(4),
    nonce: random(16),
    infohash: random(20),
    challengePeriod: number(3),
    delegate: address(signer),
    tickLength: [0n, 1n, 256n, 1024n][index % 4],
  };
  const offerDigest = digest(domain, 'Offer', offer);
  const delegationDigest = digest(domain, 'Delegation', {
    payee: offer.payee,
    delegate: offer.delegate,
    expiry,
  });
  const delegation =
    signer === payee ? zeros(72) : join(hex(expiry, 8), compact(payee.sign(delegationDigest)));
  const offerSignature = compact(signer.sign(offerDigest));
  const offerBytes = join(
    '0101',
    hex(chainId, 8),
    '01',
    hub,
    offer.payee,
    hex(offer.priceMiB, 12),
    hex(offer.windowBytes, 8),
    hex(offer.minStep, 12),
    hex(offer.prepay, 12),
    hex(offer.expiry, 8),
    offer.nonce,
    offer.infohash,
    hex(offer.challengePeriod, 4),
    offer.delegate,
    delegation,
    offerSignature,
    hex(offer.tickLength, 2),
    zeros(45),
  );

  const connection = { payerPeerId: random(20), payeePeerId: random(20), infohash: offer.infohash };
  const prepay = offer.prepay / 2n;
  const acceptDigest = digest(domain, 'Accept', {
    offer: offerDigest,
    nonce: offer.nonce,
    voucherKey: address(voucher),
    prepay,
    ...connection,
  });
  const acceptSignature = compact(voucher.sign(acceptDigest));
  const acceptBytes = join(
    '0102',
    offerDigest,
    offer.nonce,
    address(voucher),
    hex(prepay, 12),
    acceptSignature,
    zeros(16),
  );

  const amount = number(11);
  const voucherDigest = digest(domain, 'Voucher', { payee: offer.payee, cumulativeAmount: amount });
  const row = join(hex(amount, 12), compact(voucher.sign(voucherDigest)));
  const chain = { unit: number(6), length: 1 + Number(number(2) % 1024n) };
  const count = [0, 1, chain.length >> 1, chain.length][index % 4];
  const links = [random(32)];
  while (links.length <= chain.length) links.push(ethers.sha256(links.at(-1)));
  const tick = links[chain.length - count];
  const tickDigest = digest(domain, 'TickVoucher', {
    payee: offer.payee,
    cumulativeAmount: amount,
    root: links[chain.length],
    ...chain,
  });
  const tickRow = join(
    hex(amount, 12),
    hex(chain.unit, 12),
    hex(chain.length, 2),
    hex(count, 2),
    tick,
    compact(voucher.sign(tickDigest)),
  );
  const ack = [amount, number(5), number(5), number(12), number(4)];
  const receipt = {
    session: acceptDigest.slice(0, 34),
    infohash: offer.infohash,
    offer: offerDigest,
    bytes: number(5),
    amount: number(9),
    head: amount,
    time: number(4),
    payee: offer.payee,
    voucherKey: address(voucher),
  };
  const receiptDigest = digest(domain, 'Receipt', receipt);
  const detail = ['', 'not open and confirmed yet', 'ünïcode', 'x'.repeat(128)][index % 4];
  const detailBytes = Buffer.from(detail, 'utf8').subarray(0, 128);
  vectors.push({
    chainId: String(chainId),
    hub,
    offerDigest,
    acceptDigest,
    sessionId: receipt.session,
    delegationDigest,
    receiptDigest,
    voucherKey: address(voucher),
    payee: offer.payee,
    delegate: offer.delegate,
    payerPeerId: connection.payerPeerId,
    payeePeerId: connection.payeePeerId,
    infohash: offer.infohash,
    priceMiB: String(offer.priceMiB),
    minStep: String(offer.minStep),
    prepay: String(prepay),
    amount: String(amount),
    rejectDetail: detail,
    offer: offerBytes,
    accept: acceptBytes,
    voucher: join('0103', index % 2 ? '01' : '00', row),
    ack: join('0104', hex(ack[0], 12), hex(ack[1], 8), hex(ack[2], 8), hex(ack[3], 12), hex(ack[4], 8)),
    state: join('0105', index % 2 ? '02' : '01', index % 3 ? row : zeros(76), hex(ack[3], 12)),
    reject: join(
      '0106',
      '03',
      hex(1 + (index % 22), 2),
      hex(detailBytes.length, 1),
      detailBytes.toString('hex'),
    ),
    receipt: join(
      '0107',
      receipt.session,
      receipt.infohash,
      offerDigest,
      hex(receipt.bytes, 8),
      hex(receipt.amount, 12),
      hex(receipt.head, 12),
      hex(receipt.time, 8),
      receipt.payee,
      receipt.voucherKey,
      compact(voucher.sign(receiptDigest)),
      zeros(8),
    ),
    bid: join('0108', hex(offer.priceMiB, 12), hex(offer.expiry, 8)),
    tickLength: Number(offer.tickLength),
    count,
    tick_voucher: join('0109', tickRow),
    tick: join('010a', hex(count, 2), tick),
  });
}
writeFileSync(new URL('./wire.json', import.meta.url), `${JSON.stringify(vectors, null, 1)}\n`);
