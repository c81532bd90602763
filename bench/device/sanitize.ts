// compute-sanitizer over the exercise of every checked model.
import { spawn } from 'node:child_process';

/** What compute-sanitizer says of a model. */
export interface Verdict {
  readonly tool: string;
  readonly model: string;
  readonly seconds: number;
  /** Its last words, or how it ended where it had none. */
  readonly summary: string;
  /** What it found, where it found something. */
  readonly found: readonly string[];
}

/** The slowest first. */
const TOOLS = ['racecheck', 'memcheck', 'synccheck'];
/** More at once only wait for each other, and for memory. */
const AT_ONCE = 4;
const SECONDS = 170;

function watch(tool: string, model: string, artifact: string): Promise<Verdict> {
  const node = [process.execPath, process.argv[1]!, '--exercise', artifact];
  const start = performance.now();
  const options = ['--tool', tool, '--target-processes', 'all', '--print-limit', '20'];
  // Of a thread block. By itself the tool counts too few, and then launches fail.
  options.push('--num-cuda-barriers', '1024');
  // Its child goes with it, which would keep the streams open.
  const child = spawn('timeout', ['-s', 'KILL', String(SECONDS), 'compute-sanitizer', ...options, ...node]);
  let log = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      log += chunk;
    });
  }
  return new Promise((resolve) => {
    child.on('error', ({ message }) => resolve({ tool, model, seconds: 0, summary: message, found: [] }));
    child.on('close', (code, killedBy) => {
      const lines = log.trimEnd().split('\n');
      const summary = lines.filter((line) => /SUMMARY/.test(line)).join(' ');
      const clean = code === 0 && /: 0 (errors|hazards)/.test(summary);
      resolve({
        tool,
        model,
        seconds: Math.round((performance.now() - start) / 1000),
        summary: `${summary.replace(/=+ ?/g, '')}${code === 0 ? '' : ` (${killedBy ?? `exit code ${code}`})`}`,
        found: clean ? [] : lines.slice(0, 60).map((line) => line.slice(0, 200)),
      });
    });
  });
}

/** Each tool on each model; `artifacts` are theirs for target cuda, by name. */
export async function sanitize(artifacts: ReadonlyMap<string, string>): Promise<Verdict[]> {
  const jobs = TOOLS.flatMap((tool) =>
    [...artifacts].map(
      ([model, artifact]) =>
        () =>
          watch(tool, model, artifact),
    ),
  );
  const verdicts: Verdict[] = [];
  const work = async () => {
    for (let job = jobs.shift(); job; job = jobs.shift()) {
      const verdict = await job();
      console.log(`${verdict.tool} of ${verdict.model}: ${verdict.summary} (${verdict.seconds} s)`);
      for (const line of verdict.found) console.log(`  ${line}`);
      verdicts.push(verdict);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return verdicts;
}
