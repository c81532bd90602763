import { existsSync } from 'node:fs';
import { BitnetError } from '../../errors.ts';
import { findWebGpu } from '../../index.ts';

/** Where Debian's package `chromium-common` has SwiftShader, a Vulkan driver that computes on the CPU. */
const SWIFTSHADER = '/usr/lib/chromium/vk_swiftshader_icd.json';

/** Makes Vulkan use SwiftShader, where it is installed, and says why nothing of WebGPU can be tried, or nothing. */
export async function whyNoWebGpu(): Promise<string | undefined> {
  if (existsSync(SWIFTSHADER)) process.env.VK_ICD_FILENAMES ??= SWIFTSHADER;
  try {
    await findWebGpu();
    return undefined;
  } catch (error) {
    if (!(error instanceof BitnetError)) throw error;
    return `${error.message}: apt-get install chromium-common libvulkan1`;
  }
}
