import { BitnetError } from '../../../errors.ts';

/** A context of WebGL 2, as far as it is used here: the rest is gpu.js's. */
export interface Context {
  readonly canvas: object;
  readonly RENDERER: number;
  readonly MAX_TEXTURE_SIZE: number;
  isContextLost(): boolean;
  getExtension(name: string): Record<string, number> | null;
  getParameter(name: number): unknown;
}

interface Scope {
  readonly OffscreenCanvas?: new (
    width: number,
    height: number,
  ) => { getContext(kind: 'webgl2', options: { readonly powerPreference: string }): Context | null };
}

function tryContext(): Context | string {
  const { OffscreenCanvas } = globalThis as unknown as Scope;
  if (!OffscreenCanvas) return 'this browser has no OffscreenCanvas';
  const context = new OffscreenCanvas(1, 1).getContext('webgl2', { powerPreference: 'high-performance' });
  if (!context) return 'this browser has no WebGL 2';
  return context.getExtension('EXT_color_buffer_float')
    ? context
    : 'the WebGL of this browser writes no textures of floats';
}

/** Why the kernels cannot run here, or undefined. */
export function whyNoWebGl(): string | undefined {
  const found = tryContext();
  if (typeof found === 'string') return found;
  // Browsers keep a few contexts only: this one is given back.
  (found.getExtension('WEBGL_lose_context') as { loseContext?(): void } | null)?.loseContext?.();
  return undefined;
}

/** A context that kernels can run in. @throws BitnetError where there is none */
export function openContext(): Context {
  const found = tryContext();
  if (typeof found !== 'string') return found;
  throw new BitnetError(`WebGL is not there: ${found}`, { hint: 'Take another target, or another browser.' });
}

/** Values that a side of a texture has at most. */
export const longestSide = (context: Context): number => Number(context.getParameter(context.MAX_TEXTURE_SIZE));

/** What the GPU is called, as far as the browser tells. */
export function nameOf(context: Context): string {
  const info = context.getExtension('WEBGL_debug_renderer_info');
  return String(context.getParameter(info?.UNMASKED_RENDERER_WEBGL ?? context.RENDERER) || 'a GPU');
}
