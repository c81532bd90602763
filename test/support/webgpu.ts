import { existsSync } from 'node:fs';
import { BitnetError } from '../../errors.ts';
import { findWebGpu } from '../../index.ts';

/** Where Debian's package `chromium-common` has SwiftShader, a Vulkan driver that computes on the CPU. */
const SWIFTSHADER = '/usr/lib/chromium/vk_swiftshader_icd.json';

/** Otherwise SwiftShader's compiler clears workgroup memory value by value: 3 s for a kernel that has 16 KiB of it. */
const DAWN = 'disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension';

/** Makes Vulkan use SwiftShader, where it is installed, and says why nothing of WebGPU can be tried, or nothing. */
export async function whyNoWebGpu(): Promise<string | undefined> {
  if (existsSync(SWIFTSHADER)) {
    process.env.VK_ICD_FILENAMES ??= SWIFTSHADER;
    process.env.BITNET_DAWN ??= DAWN;
  }
  try {
    await findWebGpu();
    return undefined;
  } catch (error) {
    if (!(error instanceof BitnetError)) throw error;
    return `${error.message}: apt-get install chromium-common libvulkan1`;
  }
}
