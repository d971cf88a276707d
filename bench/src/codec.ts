/**
 * What one payment message costs on the wire side: decoding and encoding, without a peer to compare with. Each
 * task is timed alone by tinybench, which suits calls of a microsecond.
 */
import { readFileSync } from 'node:fs';
import { Bench } from 'tinybench';
import { fromHex } from '../../dist/units.js';
import * as Messages from '../../dist/wire/messages.js';
import type { Settings } from './main.js';
import { check, summarise } from './measure.js';
import { type Row, rowOf } from './report.js';

const KINDS = ['offer', 'accept', 'voucher', 'ack'] as const;

export async function codec({ smoke }: Settings): Promise<Row[]> {
  const file = new URL('../../test/vectors/wire.json', import.meta.url);
  const [, vector] = JSON.parse(readFileSync(file, 'utf8')) as Array<Record<string, string>>;
  const bench = new Bench({ time: smoke ? 5 : 500, warmupTime: smoke ? 1 : 100 });
  for (const kind of KINDS) {
    const bytes = fromHex(vector![kind]!);
    const decoded = Messages.decode(bytes);
    check(decoded.ok, `the ${kind} vector does not decode`);
    check(
      Buffer.compare(Messages.encode(decoded.message), bytes) === 0,
      `${kind} does not encode to its vector`,
    );
    bench.add(`${kind}.decode`, () => {
      Messages.decode(bytes);
    });
    bench.add(`${kind}.encode`, () => {
      Messages.encode(decoded.message);
    });
  }
  await bench.run();
  return bench.tasks.map(({ name, result }) => {
    check(result.state === 'completed', `${name} was not measured`);
    const measured = summarise([{ ours: result.throughput.p50, peer: undefined }]);
    return rowOf(
      { id: `codec.${name}`, what: `pw_pay ${name.replace('.', ' ')}`, unit: 'messages/s', info: true },
      measured,
    );
  });
}
