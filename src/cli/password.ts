/**
 * Asks for the wallet's password: from a file, else from the terminal without showing it. Never from an
 * argument or the environment, where other processes could read it.
 */
import { readFileSync } from 'node:fs';
import { fileErrorCode, PieceworkError } from '../errors.js';

/** The first line of `file`, or what is typed. @throws PieceworkError PASSWORD_REQUIRED, IO. */
export async function readPassword(
  file: string | undefined,
  question = 'Wallet password: ',
): Promise<string> {
  if (file !== undefined) {
    try {
      return readFileSync(file, 'utf8').split(/\r?\n/, 1)[0] ?? '';
    } catch (thrown) {
      const code = fileErrorCode(thrown) ?? 'PASSWORD_REQUIRED';
      throw new PieceworkError(code, `${file}: ${(thrown as Error).message}`, { cause: thrown });
    }
  }
  if (!process.stdin.isTTY || !process.stderr.isTTY) throw new PieceworkError('PASSWORD_REQUIRED');
  return typed(question);
}

/** Asks twice, for a new wallet. */
export async function newPassword(file: string | undefined): Promise<string> {
  const first = await readPassword(file, 'New wallet password: ');
  if (first.length < 8) throw new PieceworkError('BAD_ARGUMENT', 'the password needs at least 8 characters');
  if (file !== undefined) return first;
  if ((await readPassword(undefined, 'The same again: ')) === first) return first;
  throw new PieceworkError('WALLET_PASSWORD', 'the two passwords differ');
}

function typed(question: string): Promise<string> {
  const { stdin, stderr } = process;
  stderr.write(question);
  stdin.setRawMode(true);
  stdin.resume();
  return new Promise((resolve, reject) => {
    let text = '';
    const done = (finish: () => void): void => {
      stdin.setRawMode(false);
      stdin.pause();
      stdin.off('data', onData);
      stderr.write('\n');
      finish();
    };
    const onData = (chunk: Buffer): void => {
      for (const character of chunk.toString('utf8')) {
        if (character === '\r' || character === '\n') return done(() => resolve(text));
        if (character === '\u0003') return done(() => reject(new PieceworkError('INTERRUPTED')));
        if (character === '\u007f' || character === '\b') text = text.slice(0, -1);
        else text += character;
      }
    };
    stdin.on('data', onData);
  });
}
