import { BitnetError } from '../../errors.ts';
import { type KernelSection, numberSections } from '../kernels/config.ts';
import type { Tuned, TunedShape } from './tuned-file.ts';

const ofLayout = ({ layouts }: TunedShape, id: string) => layouts.find(({ layout }) => layout === id);

/**
 * The best tiles of table look-ups that a tuning found, one section for each projection, as a kernel .ini has them: those of
 * the layout that it chose, or where it chose none with tables, of the one that comes nearest.
 *
 * Throws a BitnetError where no such kernels were timed.
 */
export function tunedSections({ model, shapes }: Tuned): KernelSection[] {
  const tables = [
    ...new Set(
      shapes.flatMap(({ layouts }) =>
        layouts.filter(({ kernels }) => kernels.one.tile.held !== undefined).map(({ layout }) => layout),
      ),
    ),
  ];
  const chosen = (id: string) => shapes.filter(({ layout }) => layout === id).length;
  const seconds = (id: string) =>
    shapes.reduce((sum, shape) => sum + shape.count * (ofLayout(shape, id)?.nanoseconds.median ?? Infinity), 0);
  const [best] = tables.sort((a, b) => chosen(b) - chosen(a) || seconds(a) - seconds(b));
  if (best === undefined) {
    throw new BitnetError(`no kernel of table look-ups was timed for ${model}: there are no tiles to write`, {
      hint: 'give it more time: --minutes',
    });
  }
  const tiles = shapes.flatMap((shape) => {
    const { rows: BM, columns: BK, held: bm } = ofLayout(shape, best)?.kernels.one.tile ?? {};
    if (BM === undefined || BK === undefined || bm === undefined) return [];
    return shape.parts.map((m) => ({ m, k: shape.k, BM, BK, bm }));
  });
  return numberSections(tiles);
}
