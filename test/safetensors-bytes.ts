/** A tensor for a SafeTensors file of a test. */
export interface TensorBytes {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: Buffer;
}

/** A SafeTensors file, written from the format's definition: it shares nothing with the compiler. */
export function safetensorsBytes(
  tensors: Readonly<Record<string, TensorBytes>>,
  metadata: object | undefined = { format: 'pt' },
): Buffer {
  let offset = 0;
  const entries = Object.entries(tensors).map(([name, { dtype, shape, data }]): [string, object] => {
    const entry = { dtype, shape, data_offsets: [offset, offset + data.length] };
    offset += data.length;
    return [name, entry];
  });
  const header = Object.fromEntries(metadata === undefined ? entries : [['__metadata__', metadata], ...entries]);
  return withHeader(JSON.stringify(header), ...Object.values(tensors).map(({ data }) => data));
}

/** Any header before any data. */
export function withHeader(json: string, ...data: readonly Buffer[]): Buffer {
  const header = Buffer.from(json);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, ...data]);
}

export function f32(shape: readonly number[], values: ArrayLike<number>): TensorBytes {
  const data = Buffer.alloc(values.length * 4);
  for (let i = 0; i < values.length; i++) data.writeFloatLE(values[i]!, i * 4);
  return { dtype: 'F32', shape, data };
}

/** The upper half of each float32: the values must have no more bits. */
export function bf16(shape: readonly number[], values: ArrayLike<number>): TensorBytes {
  const wide = f32(shape, values).data;
  const data = Buffer.alloc(values.length * 2);
  for (let i = 0; i < values.length; i++) wide.copy(data, i * 2, i * 4 + 2, i * 4 + 4);
  return { dtype: 'BF16', shape, data };
}

/** Weights -1, 0, 1 as transformers packs them: row r of the n = rows / 4 below one another holds r, r + n, r + 2n, r + 3n. */
export function packed(rows: number, cols: number, weights: ArrayLike<number>): TensorBytes {
  const quarter = rows / 4;
  const data = Buffer.alloc(quarter * cols);
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) {
      data[(row % quarter) * cols + col]! |= (weights[row * cols + col]! + 1) << (2 * Math.floor(row / quarter));
    }
  }
  return { dtype: 'U8', shape: [quarter, cols], data };
}
