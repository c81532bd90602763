import type { Test } from 'uvu';

type Environment = Readonly<Record<string, string | undefined>>;

/** Sets environment variables while `work` goes on; undefined unsets one. */
export async function withEnvironment<T>(values: Environment, work: () => Promise<T>): Promise<T> {
  const before = replace(values);
  try {
    return await work();
  } finally {
    replace(before);
  }
}

/**
 * Sets environment variables while a suite runs. All test files of a run share a process and are imported before the
 * first test, so none may leave its mark on the others.
 */
export function suiteEnvironment(suite: Test, values: Environment): void {
  let before: Environment;
  suite.before(() => {
    before = replace(values);
  });
  suite.after(() => {
    replace(before);
  });
}

/** Returns what the variables were. */
function replace(values: Environment): Environment {
  const before: Record<string, string | undefined> = {};
  for (const [name, value] of Object.entries(values)) {
    before[name] = process.env[name];
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  return before;
}
