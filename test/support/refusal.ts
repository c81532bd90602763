import * as assert from 'uvu/assert';
import { BitnetError } from '../../errors.ts';

/** The BitnetError that `work` ends with; anything else fails the test. */
export async function refusal(work: () => unknown): Promise<BitnetError> {
  try {
    await work();
  } catch (error) {
    if (error instanceof BitnetError) return error;
    throw error;
  }
  assert.unreachable('it should have been refused');
  throw new Error('unreachable');
}
