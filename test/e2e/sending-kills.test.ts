/** kill -9 of a settling process around the broadcast; every point of it is in `npm run soak:settlement`. */
import { expect, it } from 'vitest';
import { killProcesses } from '../support/process-kills.js';

it('a settling process that is killed settles once, whenever it died', async () => {
  const points = [
    { method: 'eth_getTransactionCount', count: 1, late: true },
    { method: 'eth_sendRawTransaction', count: 1, late: false },
    { method: 'eth_sendRawTransaction', count: 1, late: true },
    { method: 'eth_getTransactionReceipt', count: 1, late: true },
  ];
  const { kills, at } = await killProcesses(points);
  console.log(`${kills} kills`, at);
  expect(kills).toBe(points.length);
  expect(at.get('eth_sendRawTransaction')).toBe(2);
}, 180_000);
