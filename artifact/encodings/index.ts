import { bf16, f16, f32 } from './plain.ts';
import { q4_0 } from './q4_0.ts';
import { q6_k } from './q6_k.ts';
import { q8_0 } from './q8_0.ts';

export type { FloatEncoding } from './float.ts';

/** The encodings of real numbers. Decoding wants a little-endian machine, as every platform of Node's but s390x is. */
export const FLOAT = { f32, f16, bf16, q8_0, q6_k, q4_0 } as const;

/** The name of one, as the manifest has it. */
export type FloatEncodingName = keyof typeof FLOAT;
