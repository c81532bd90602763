import { BitnetError } from '../../errors.ts';
import type { KernelSection } from '../kernels/config.ts';
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
  const sections = new Map<string, KernelSection>();
  for (const shape of shapes) {
    const tile = ofLayout(shape, best)?.kernels.one.tile;
    if (tile?.held === undefined) continue;
    for (const m of shape.parts) {
      const key = `${m} ${shape.k}`;
      const [name, line] = [`Kernels_${sections.size}`, 7 * sections.size + 1];
      const section = { name, line, m, k: shape.k, BM: tile.rows, BK: tile.columns, bm: tile.held };
      if (!sections.has(key)) sections.set(key, section);
    }
  }
  return [...sections.values()];
}
