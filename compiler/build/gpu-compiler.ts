/** A compiler of programs for NVIDIA GPUs. */
export interface GpuCompiler {
  /** The program, or the library. */
  readonly command: string;
  /** Its release, for the manifest and the cache's key. */
  readonly version: string;
  /** Architectures that it knows, as `sm_90`. */
  readonly architectures: readonly string[];
  /** File name of what it makes. */
  readonly library: string;
  /**
   * Compiles `model.cu` of a folder, which includes others of it, into `library` there.
   * Throws a BitnetError with the compiler's errors.
   */
  build(folder: string, job: GpuBuild): Promise<void>;
}

export interface GpuBuild {
  /** At least one of those that the compiler knows. */
  readonly architectures: readonly string[];
  /** Flags of every architecture, which all of these compilers know. */
  readonly flags: readonly string[];
  readonly signal?: AbortSignal | undefined;
}

/** What code is generated for: sm_90 has products of its own, which code for later GPUs does not have. */
export const codeOf = (architecture: string): string => (architecture === 'sm_90' ? 'sm_90a' : architecture);
