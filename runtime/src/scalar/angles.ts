const QUARTER = 0x1921fb544 / 2 ** 32;
/** What of pi / 2 is left, 0x1.0b4611a626331p-34. */
const REST = 0x10b4611a626331 / 2 ** 86;
/** 2 / pi */
const TURNS = 0x145f306dc9c883 / 2 ** 53;

const SINE = [-1 / 1307674368000, 1 / 6227020800, -1 / 39916800, 1 / 362880, -1 / 5040, 1 / 120, -1 / 6];
const COSINE = [
  1 / 20922789888000,
  -1 / 87178291200,
  1 / 479001600,
  -1 / 3628800,
  1 / 40320,
  -1 / 720,
  1 / 24,
  -0.5,
  1,
];

/** Cosine and sine of an angle, rounded as templates/cpp/angles.h rounds them: Math's are not the same on all engines. */
export function turn(angle: number): readonly [cosine: number, sine: number] {
  const turns = Math.trunc(angle * TURNS + 0.5);
  const r = angle - turns * QUARTER - turns * REST;
  const square = r * r;
  let sine = 1 / 355687428096000;
  for (const term of SINE) sine = sine * square + term;
  sine = sine * square * r + r;
  let cosine = -1 / 6402373705728000;
  for (const term of COSINE) cosine = cosine * square + term;
  switch (turns % 4) {
    case 0:
      return [cosine, sine];
    case 1:
      return [-sine, cosine];
    case 2:
      return [-cosine, -sine];
    default:
      return [sine, -cosine];
  }
}

/** Cosines of a position's angles, then their sines. */
export function rotation(out: Float32Array, position: number, frequencies: readonly number[]): void {
  frequencies.forEach((frequency, i) => {
    const [cosine, sine] = turn(position * frequency);
    out[i] = cosine;
    out[frequencies.length + i] = sine;
  });
}
