import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import createTorrent from 'create-torrent';
import parseTorrent from 'parse-torrent';
import { describe, expect, it } from 'vitest';
import { torrentBytesMax } from '../../../src/limits.js';
import * as Bencode from '../../../src/torrent/bencode.js';
import * as Creation from '../../../src/torrent/creation.js';
import * as Metainfo from '../../../src/torrent/metainfo.js';
import { folder, SIZES, sample, tree } from './support.js';

type Fields = { [key: string]: Bencode.Encodable | undefined };
const HASH = new Uint8Array(20);
const single = (info: Fields = {}): Fields => ({
  length: 10,
  name: 'a',
  'piece length': 16_384,
  pieces: HASH,
  ...info,
});
const multi = (files: Bencode.Encodable[], info: Fields = {}): Fields => ({
  files,
  name: 'a',
  'piece length': 16_384,
  pieces: HASH,
  ...info,
});
const parse = (info: Fields, top: Fields = {}): Metainfo.Metainfo =>
  Metainfo.parse(Bencode.encode({ ...top, info }));
const code = (task: () => unknown): string => {
  try {
    task();
    return 'taken';
  } catch (thrown) {
    return String((thrown as { code?: unknown }).code);
  }
};

/** Names that must never become paths; each is tried as the torrent's name and at three places of a path. */
const HOSTILE = [
  '',
  '.',
  '..',
  '/',
  '\\',
  '//',
  '../x',
  '..\\x',
  'x/..',
  'x\\..',
  '/etc/passwd',
  '\\\\server\\share',
  'C:',
  'c:\\x',
  'C:/x',
  'Z:autoexec',
  'a/b',
  'a\\b',
  './a',
  'a/',
  '/a',
  '\0',
  'a\0',
  '\0a',
  'a\0b',
  '..\0',
  'a\n',
  '\r',
  'a\tb',
  '\u0001',
  '\u001b[2J',
  '\u007f',
  '\u0080',
  '\u009f',
  '\u009b',
  '\u202e',
  'a\u202egpj.exe',
  '\u202d',
  '\u2066',
  '\u2069',
  '\u200e',
  '\u200f',
  '\u061c',
  'x'.repeat(256),
  'é'.repeat(128),
  '漢'.repeat(86),
  '../../../../../../etc/cron.d/x',
  '..//..//x',
  '.\\..\\x',
  '....//x',
  '..;/x\u0000',
  'a/../../b',
  'a/./b',
  '~\u0000',
  'con\u0000',
  'aux/',
  'nul\\',
  '\u0085',
  'a\u0007',
  '\b',
  '\f',
  '\v',
  'x\u0000.txt',
  '/dev/null',
  '/proc/self/mem',
  '\\??\\C:\\x',
  '\\\\.\\PhysicalDrive0',
  'file:///etc/passwd',
  'a://b',
  'D:',
  'd:\u0020',
  'e:..',
  'f:.',
  '..\u2066',
  '\u0000\u0000',
  '\u001f',
  '\u0000..',
  '.\u0000',
  '/..',
  '\\..',
];

describe('hostile torrents', () => {
  const cases = HOSTILE.flatMap((name) => [
    ['as the name', name, multi([{ length: 10, path: ['b'] }], { name })] as const,
    ['as the only component', name, multi([{ length: 10, path: [name] }])] as const,
    ['in front', name, multi([{ length: 10, path: [name, 'b'] }])] as const,
    ['at the end', name, multi([{ length: 10, path: ['b', name] }])] as const,
  ]);
  it(`has at least 300 hostile paths, all refused (${cases.length})`, () => {
    expect(cases.length).toBeGreaterThanOrEqual(300);
    for (const [where, name, info] of cases) {
      expect(`${JSON.stringify(name)} ${where}: ${code(() => parse(info))}`).toBe(
        `${JSON.stringify(name)} ${where}: TORRENT_UNSAFE`,
      );
    }
  });

  it('takes names that only look odd', () => {
    for (const name of [
      '...',
      ' ',
      '.hidden',
      'a..b',
      'ünï',
      '漢字',
      'a b',
      '~',
      'x'.repeat(255),
      '👩‍💻',
      'aux.c',
      '-rf',
      '$(x)',
    ]) {
      expect(parse(multi([{ length: 10, path: [name] }])).files[0]?.path).toBe(`a/${name}`);
    }
  });

  it.each([
    ['the same path twice', [['b'], ['b']]],
    ['paths that differ in case', [['b'], ['B']]],
    ['paths that differ in Unicode form', [['\u00e9'], ['e\u0301']]],
    ['a file where a folder is', [['b'], ['b', 'c']]],
    [
      'a file where a deeper folder is',
      [
        ['b', 'c', 'd'],
        ['B', 'C'],
      ],
    ],
  ])('refuses %s', (_name, paths) => {
    expect(code(() => parse(multi(paths.map((path) => ({ length: 5, path })))))).toBe('TORRENT_UNSAFE');
  });

  it('refuses symbolic links and a path of 65 folders', () => {
    expect(code(() => parse(multi([{ length: 10, path: ['b'], attr: 'l' }])))).toBe('TORRENT_UNSAFE');
    expect(code(() => parse(multi([{ length: 10, path: ['b'], 'symlink path': ['c'] }])))).toBe(
      'TORRENT_UNSAFE',
    );
    expect(code(() => parse(multi([{ length: 10, path: Array(65).fill('d') }])))).toBe('TORRENT_UNSAFE');
  });

  it.each<[string, Fields]>([
    ['no pieces', single({ pieces: undefined })],
    ['half a hash', single({ pieces: new Uint8Array(30) })],
    ['too few hashes', single({ length: 16_385 })],
    ['too many hashes', single({ pieces: new Uint8Array(40) })],
    ['no bytes', single({ length: 0 })],
    ['a negative length', single({ length: -1 })],
    ['a text for a length', single({ length: '10' })],
    ['pieces of no length', single({ 'piece length': 0 })],
    ['both length and files', multi([{ length: 10, path: ['b'] }], { length: 10 })],
    ['no files', multi([])],
    ['a file without a path', multi([{ length: 10 }])],
    ['a file with an empty path', multi([{ length: 10, path: [] }])],
    ['a number in a path', multi([{ length: 10, path: [1] }])],
    ['no name', single({ name: undefined })],
    [
      'a sum beyond 2^53',
      multi([
        { length: 9_007_199_254_740_991, path: ['b'] },
        { length: 1, path: ['c'] },
      ]),
    ],
  ])('refuses %s', (_name, info) => {
    expect(code(() => parse(info))).toBe('TORRENT_CORRUPT');
  });

  it('refuses what it does not support and what is too large', () => {
    expect(code(() => parse(single({ pieces: undefined, 'meta version': 2 })))).toBe('TORRENT_UNSUPPORTED');
    expect(code(() => parse(single({ 'piece length': 20_000 })))).toBe('TORRENT_UNSUPPORTED');
    expect(code(() => parse(single({ name: new Uint8Array([0xff, 0xfe]) })))).toBe('TORRENT_UNSUPPORTED');
    expect(code(() => parse(single({ 'piece length': 128 * 1024 * 1024 })))).toBe('TORRENT_TOO_LARGE');
    expect(code(() => parse(single({ pieces: new Uint8Array(20 * 400_001) })))).toBe('TORRENT_TOO_LARGE');
    expect(code(() => Metainfo.parse(new Uint8Array(torrentBytesMax + 1)))).toBe('TORRENT_TOO_LARGE');
  });

  it('does not overflow, spin or swell on bencode bombs', () => {
    const bombs = [
      'd4:info'.repeat(100_000),
      'l'.repeat(1_000_000),
      'd'.repeat(1_000_000),
      `${'l'.repeat(500_000)}${'e'.repeat(500_000)}`,
      `d4:info${'l'.repeat(200)}${'e'.repeat(200)}e`,
      '99999999999999999999:',
      '9'.repeat(1_000_000),
      'i',
      `i${'9'.repeat(100_000)}e`,
      'd4:info',
      'd4:infod',
      'd4:infoi1e',
      'de',
      '',
      'd4:infodee',
      '5:abc',
      'd4:infode4:infodee',
      'd4:infodeei1e',
      'i-0e',
      'i01e',
      '-1:a',
    ];
    const before = process.memoryUsage().rss;
    for (const bomb of bombs) expect(code(() => Metainfo.parse(Buffer.from(bomb)))).toBe('TORRENT_CORRUPT');
    for (const key of ['1:a', '5:files', '4:path', '4:name']) {
      const many = Buffer.from(`d4:infod${key}l${'0:'.repeat(4_000_000)}eee`);
      expect(code(() => Metainfo.parse(many))).toBe('TORRENT_CORRUPT');
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(400 * 1024 * 1024);
  });

  it('refuses every cut of a good torrent', async () => {
    const { torrentBytes } = await sample();
    for (let size = 0; size < torrentBytes.length; size++) {
      expect(code(() => Metainfo.parse(torrentBytes.subarray(0, size)))).toBe('TORRENT_CORRUPT');
    }
  });
});

describe('a torrent', () => {
  it('keeps the infohash of the bytes as they came, where encoding again would change it', () => {
    const info = Buffer.from(
      `d6:lengthi10e12:piece lengthi16384e4:name1:a6:pieces20:${'h'.repeat(20)}e`,
      'latin1',
    );
    const metainfo = Metainfo.parse(Buffer.concat([Buffer.from('d4:info'), info, Buffer.from('e')]));
    expect(Buffer.from(metainfo.infoBytes)).toEqual(info);
    expect(Metainfo.parse(Metainfo.toTorrentBytes(metainfo)).infohashHex).toBe(metainfo.infohashHex);
  });

  it('takes padding files, prefers UTF-8 names and reads the private flag', () => {
    const metainfo = parse(
      multi(
        [
          { length: 10, path: ['x'], 'path.utf-8': ['ü'] },
          { length: 6, path: ['.pad', '6'], attr: 'p' },
          { length: 4, path: ['c'] },
          { length: 6, path: ['.pad', '6'], attr: 'p' },
        ],
        { private: 1 },
      ),
    );
    expect(metainfo.files.map(({ path, offset, pad }) => [path, offset, pad])).toEqual([
      ['a/ü', 0, false],
      ['a/.pad/6', 10, true],
      ['a/c', 16, false],
      ['a/.pad/6', 20, true],
    ]);
    expect(metainfo.private).toBe(true);
    expect(Object.isFrozen(metainfo) && Object.isFrozen(metainfo.files)).toBe(true);
  });

  it('keeps usable trackers, once each and bounded', () => {
    const many = Array.from({ length: 200 }, (_, at) => [`http://t${at}.example/announce`]);
    const top = {
      announce: 'udp://one.example:1',
      'announce-list': [['udp://one.example:1', 'wss://no.example'], ['nonsense'], ...many],
    };
    const { announce } = parse(single(), top);
    expect(announce.slice(0, 2)).toEqual(['udp://one.example:1', 'http://t0.example/announce']);
    expect(announce).toHaveLength(64);
  });

  it('agrees with create-torrent and parse-torrent', async () => {
    const root = tree({ 'sample/a.bin': 70_000, 'sample/b/c.bin': 50_000 });
    const { metainfo, torrentBytes } = await Creation.create([join(root, 'sample')], {
      pieceLength: 32_768,
      announce: ['http://127.0.0.1:1/announce'],
    });
    const theirs = await new Promise<Uint8Array>((resolve, reject) => {
      createTorrent(join(root, 'sample'), { pieceLength: 32_768, announce: [] }, (error, made) =>
        error ? reject(error) : resolve(made),
      );
    });
    expect(Metainfo.parse(theirs).infohashHex).toBe(metainfo.infohashHex);
    const read = await parseTorrent(torrentBytes);
    expect(read.infoHash).toBe(metainfo.infohashHex);
    expect(read.announce).toEqual(['http://127.0.0.1:1/announce']);
    expect(read.files.map((file) => file.path)).toEqual(metainfo.files.map((file) => file.path));
  });
});

describe('magnet links', () => {
  const hex = 'c0ffee'.repeat(6).slice(0, 36).padEnd(40, '0');

  it('reads hex and base32, trackers and peers', async () => {
    const { metainfo } = await sample();
    const magnet = Metainfo.parseMagnet(
      `${Metainfo.toMagnet(metainfo)}&tr=http%3A%2F%2Ft.example%2Fa&tr=junk&x.pe=127.0.0.1:6881&x.pe=%5B::1%5D:7&x.pe=a:0`,
    );
    expect(magnet.infohashHex).toBe(metainfo.infohashHex);
    expect(magnet.name).toBe('sample');
    expect(magnet.announce).toEqual(['http://t.example/a']);
    expect(magnet.peers).toEqual([
      { address: '127.0.0.1', port: 6881 },
      { address: '::1', port: 7 },
    ]);
    expect(Metainfo.parseMagnet(`magnet:?xt=urn:btih:${'A'.repeat(31)}B`).infohashHex).toBe(
      `${'0'.repeat(39)}1`,
    );
    expect((await parseTorrent(`magnet:?xt=urn:btih:${'A'.repeat(31)}B`)).infoHash).toBe(
      `${'0'.repeat(39)}1`,
    );
  });

  it.each([
    ['', 'TORRENT_CORRUPT'],
    ['magnet:?', 'TORRENT_CORRUPT'],
    ['magnet:?xt=urn:btih:zz', 'TORRENT_CORRUPT'],
    [`magnet:?xt=urn:btih:${hex}0`, 'TORRENT_CORRUPT'],
    [`magnet:?xt=urn:btmh:1220${'00'.repeat(32)}`, 'TORRENT_UNSUPPORTED'],
    [`magnet:?xt=urn:btih:${hex}&tr=${'x'.repeat(70_000)}`, 'TORRENT_CORRUPT'],
  ])('refuses %.40s', (link, expected) => {
    expect(code(() => Metainfo.parseMagnet(link))).toBe(expected);
  });

  it('takes a link with broken escapes', () => {
    expect(Metainfo.parseMagnet(`magnet:?xt=urn:btih:${hex}&dn=%E0%A4%A&tr=%`).infohashHex).toBe(hex);
  });
});

describe('creation', () => {
  it('orders files by their bytes and includes dotfiles and empty files', async () => {
    const { metainfo, sources, warnings } = await sample();
    expect(metainfo.files.map(({ path }) => path)).toEqual([
      'sample/.hidden',
      'sample/a.bin',
      'sample/deep/er/b.bin',
      'sample/empty',
      'sample/z.bin',
    ]);
    expect(sources).toHaveLength(5);
    expect(warnings).toEqual([]);
    expect(metainfo.totalBytes).toBe(Object.values(SIZES).reduce((sum, size) => sum + size));
    expect((await sample()).metainfo.infohashHex).toBe(metainfo.infohashHex);
  });

  it('makes a single-file torrent of one file, and one folder of several paths', async () => {
    const root = tree({ 'x/one.bin': 100, 'x/two/three.bin': 50 });
    const one = await Creation.create([join(root, 'x/one.bin')], {});
    expect(one.metainfo.files).toEqual([{ path: 'one.bin', offset: 0, bytes: 100, pad: false }]);
    const both = await Creation.create([join(root, 'x/two'), join(root, 'x/one.bin')], {
      name: 'both',
      private: true,
    });
    expect(both.metainfo.files.map(({ path }) => path)).toEqual(['both/one.bin', 'both/two/three.bin']);
    expect(both.metainfo.private).toBe(true);
    const alone = await Creation.create([join(root, 'x/two')], {});
    expect(alone.metainfo.files.map(({ path }) => path)).toEqual(['two/three.bin']);
  });

  it('names links that it leaves out', async () => {
    const root = tree({ 'sample/a': 10 });
    symlinkSync('/etc/passwd', join(root, 'sample/link'));
    symlinkSync(root, join(root, 'sample/loop'));
    const { metainfo, warnings } = await Creation.create([join(root, 'sample')]);
    expect(metainfo.files).toHaveLength(1);
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toMatch(/link is left out: it is a symbolic link/);
  });

  it('refuses what it cannot share', async () => {
    const root = folder();
    mkdirSync(join(root, 'empty'));
    writeFileSync(join(root, 'back\\slash'), 'x');
    const creation = (...paths: string[]) => Creation.create(paths.map((path) => join(root, path)));
    await expect(creation('missing')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(creation('empty')).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await expect(creation()).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    await expect(creation('back\\slash')).rejects.toMatchObject({ code: 'TORRENT_UNSAFE' });
    await expect(Creation.create(['/dev/null'])).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
  });

  it('chooses piece lengths that keep the torrent small', () => {
    expect(Creation.pieceLengthFor(1)).toBe(16 * 1024);
    expect(Creation.pieceLengthFor(200 * 1024 * 1024)).toBe(256 * 1024);
    expect(Creation.pieceLengthFor(2 ** 40)).toBe(16 * 1024 * 1024);
    for (const power of [43, 44])
      expect(2 ** power / Creation.pieceLengthFor(2 ** power)).toBeLessThanOrEqual(400_000);
  });
});
