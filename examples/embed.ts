// Two engines in one process: one is paid for a piece that the other fetches, over bittorrent-protocol wires that
// this program runs itself. Start `piecework chain dev` first: it prints RPC and HUB, and its accounts have money.
import { randomBytes } from 'node:crypto';
import Wire from 'bittorrent-protocol';
import * as Piecework from 'piecework';

const { RPC = '', HUB = '', DATA = '', PAYEE_KEY = '', PAYER_KEY = '' } = process.env;
const open = (name: string, key: string, roles: { sell?: boolean; buy?: boolean }) => {
  const config = Piecework.loadConfig({ dataDir: `${DATA}/${name}`, chain: 'local', rpc: RPC, hub: HUB });
  return Piecework.createEngine({
    config,
    account: new Piecework.Account(Buffer.from(key, 'hex')),
    ...roles,
  });
};
const payee = await open('payee', PAYEE_KEY, { sell: true });
const payer = await open('payer', PAYER_KEY, { buy: true });

const [infohash, pieceLength, budget] = [randomBytes(20), 262_144, Piecework.parseAmount('1BTT')];
const [payeeId, payerId, address] = [randomBytes(20), randomBytes(20), '127.0.0.1'];
const [serving, fetching] = [new Wire('tcpIncoming'), new Wire('tcpOutgoing')];
await new Promise<void>((resolve) => {
  const onStanding = (standing: string): void => (standing === 'ready' ? resolve() : undefined);
  const buying = {
    infohash,
    budget,
    bytesLeft: () => pieceLength,
    address,
    localPeerId: payerId,
    onStanding,
  };
  serving.use(
    Piecework.paymentExtension(payee, { role: 'payee', address, localPeerId: payeeId, pieceLength }),
  );
  fetching.use(Piecework.paymentExtension(payer, { role: 'payer', ...buying }));
  serving.pipe(fetching).pipe(serving);
  serving.handshake(infohash.toString('hex'), payeeId.toString('hex'));
  fetching.handshake(infohash.toString('hex'), payerId.toString('hex'));
});

const { pw_pay: seller } = serving as unknown as { pw_pay: Piecework.PayeeWire };
const { pw_pay: buyer } = fetching as unknown as { pw_pay: Piecework.PayerWire };
console.log('reserved:', await buyer.reserve(0, pieceLength));
console.log('granted:', await seller.admit(0, pieceLength)); // … now the piece travels and is verified …
await buyer.received(0, pieceLength);
console.log('acknowledged:', await buyer.finish());
console.log('earned:', Piecework.formatAmount(BigInt((await payee.statement()).totals.earned)));
await Promise.all([payer.close(), payee.close()]);
