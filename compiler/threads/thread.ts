// What a thread of a pool runs: tasks one after the other, on the model that the pool was opened on.
import { parentPort, workerData } from 'node:worker_threads';
import { type Answer, packError, type Request } from './message.ts';
import { runTask } from './tasks.ts';
import { Workbench } from './workbench.ts';

const bench = Workbench.open(workerData);
// Its failure is the first task's.
bench.catch(() => {});
let last = Promise.resolve();

async function answer({ id, task, input }: Request): Promise<void> {
  try {
    const output = await runTask(await bench, task, input);
    const moved = output.map(({ bytes }) => bytes.buffer);
    parentPort!.postMessage({ id, output } satisfies Answer, moved);
  } catch (error) {
    parentPort!.postMessage({ id, failure: packError(error) } satisfies Answer);
  }
}

parentPort!.on('message', (request: Request) => {
  last = last.then(() => answer(request));
});
