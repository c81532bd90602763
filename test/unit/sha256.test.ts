import { createHash } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../bench/shapes/random.ts';
import { Sha256 } from '../../runtime/src/browser/sha256.ts';
import { finish } from '../../slices.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

test('bytes of any number, in any pieces, have the hash that Node gives them', () => {
  const random = new Random(1);
  const lengths = [...Array.from({ length: 200 }, (_, length) => length), 4095, 65536, 1_000_003];
  for (const length of lengths) {
    const bytes = Uint8Array.from({ length }, () => random.integer(256));
    const hash = new Sha256();
    for (let at = 0; at < length; ) {
      const next = at + 1 + random.integer(length);
      finish(hash.add(bytes.subarray(at, next)));
      at = next;
    }
    assert.is(hash.hex(), sha256(bytes), `${length} bytes`);
  }
});

test.run();
