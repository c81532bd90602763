import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A new folder that is removed when the process ends. */
export function temporaryFolder(label: string): string {
  const folder = mkdtempSync(join(tmpdir(), `bitnet-${label}-`));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
