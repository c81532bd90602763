import { test } from 'uvu';
import { SHAPES } from '../../bench/shapes/index.ts';
import { architectureOf } from '../../compiler/models/index.ts';
import { planModel } from '../../compiler/passes/index.ts';
import { selectKernels } from '../../compiler/passes/select-kernels.ts';
import { targets } from '../../targets/index.ts';
import { assertExpected } from '../support/expected.ts';
import { sketch } from '../support/model-ir.ts';

/** One line for each matrix of each published model and each target: the kernels that are chosen for it. */
test('published shapes get the kernels of expected/selection.txt', () => {
  const lines = Object.entries(SHAPES).flatMap(([name, shape]) => {
    const { inputNorms } = architectureOf(shape.architecture);
    const plan = planModel(sketch({ ...shape, inputNorms, layers: 1, rope: {} }));
    return targets.flatMap((target) =>
      selectKernels(plan, target).map(({ use, gemv, gemm }) => [name, use, target.id, gemv.name, gemm.name].join(' ')),
    );
  });
  assertExpected('selection.txt', `${lines.join('\n')}\n`);
});

test.run();
