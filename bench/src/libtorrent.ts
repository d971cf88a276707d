/** libtorrent as a seeder, through the Python bindings that Debian and others package: the peer of our seeder. */
import { execFileSync, spawn } from 'node:child_process';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';

const PYTHON = '/usr/bin/python3';

const SEEDER = `
import libtorrent as lt, sys, time
torrent, folder = sys.argv[1:3]
settings = lt.high_performance_seed()
settings.update({'listen_interfaces': '127.0.0.1:0', 'enable_dht': False, 'enable_lsd': False, 'enable_upnp': False,
  'enable_natpmp': False, 'enable_incoming_utp': False, 'enable_outgoing_utp': False, 'alert_mask': 0,
  'allow_multiple_connections_per_ip': True, 'out_enc_policy': 2, 'in_enc_policy': 2})
s = lt.session(settings)
p = lt.add_torrent_params()
p.ti = lt.torrent_info(torrent)
p.save_path = folder
t = s.add_torrent(p)
while not t.status().is_seeding: time.sleep(0.02)
print(s.listen_port(), flush=True)
while True: time.sleep(60)
`;

export interface PeerSeeder {
  readonly version: string;
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

/** Its version; undefined where it is not installed. */
export function version(): string | undefined {
  try {
    const args = ['-c', 'import libtorrent; print(libtorrent.__version__)'];
    return execFileSync(PYTHON, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return undefined;
  }
}

/** Seeds a file with the settings that libtorrent itself recommends for a fast seeder; ready when it listens. */
export async function seed(torrentFile: string, source: string): Promise<PeerSeeder | undefined> {
  const found = version();
  if (found === undefined) return undefined;
  const child = spawn(PYTHON, ['-c', SEEDER, torrentFile, dirname(source)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const stop = (): Promise<void> => {
    child.kill('SIGKILL');
    return closed;
  };
  for await (const line of createInterface({ input: child.stdout })) {
    return { version: found, port: Number(line), pid: child.pid!, stop };
  }
  throw new Error('libtorrent does not seed');
}
