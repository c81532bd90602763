/** Where a value lies on an axis, in pixels, and which values are marked there. */
export interface Scale {
  at(value: number): number;
  readonly ticks: readonly number[];
}

/** From zero to `most` or a little more: marks at 1, 2 or 5 times a power of ten, about five of them. */
export function linearScale(most: number, from: number, to: number): Scale {
  const rough = (most > 0 ? most : 1) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough)!;
  const steps = Math.ceil(most / step - 1e-9) || 1;
  const end = steps * step;
  return {
    at: (value) => from + ((to - from) * value) / end,
    ticks: Array.from({ length: steps + 1 }, (_, i) => i * step),
  };
}

/** Logarithmic, from `least` to `most`, both above zero: marks at powers of ten, and at 2 and 5 times them where there are few. */
export function logScale(least: number, most: number, from: number, to: number): Scale {
  const [low, high] = [Math.log10(least), Math.log10(most)];
  const factors = high - low > 3 ? [1] : [1, 2, 5];
  const ticks: number[] = [];
  for (let power = Math.floor(low); power <= high; power++) {
    for (const factor of factors) ticks.push(Number(`${factor}e${power}`));
  }
  return {
    at: (value) => from + ((to - from) * (Math.log10(value) - low)) / (high - low || 1),
    ticks: ticks.filter((tick) => tick >= least && tick <= most),
  };
}

/** A mark's value, without zeros that mean nothing. */
export const tickText = (tick: number): string => String(Number(tick.toPrecision(3)));
