import { BitnetError } from '../../errors.ts';

const DEFAULT_REVISION = 'main';

/** A model of the Hub at a revision: a branch, a tag or a commit. */
export interface ModelId {
  /** `owner/name` */
  readonly repo: string;
  readonly revision: string;
}

/** The Hub's own rule for both parts of a name; no dots and no dashes in a row besides. */
const PART = /^\w(?:[\w.-]{0,94}\w)?$/;
const REVISION = /^\w(?:[\w./+-]{0,199}[\w+-])?$/;
/** Names that mean a device on Windows, whatever follows their first dot. */
const DEVICE = /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])\s*(?:\.|$)/i;
const MAX_PATH = 1000;
const MAX_SEGMENT = 200;

const isPart = (text: string): boolean => PART.test(text) && !/\.\.|--/.test(text) && !DEVICE.test(text);

/** Whether a text can be the name of a model on the Hub, as `microsoft/bitnet-b1.58-2B-4T`. */
export function isRepo(text: string): boolean {
  const parts = text.split('/');
  return parts.length === 2 && parts.every(isPart);
}

/**
 * Reads `owner/name` or `owner/name@revision`.
 * @throws BitnetError for what cannot be a name on the Hub, and for two revisions that differ
 */
export function parseModelName(text: string, wanted?: string): ModelId {
  const at = text.indexOf('@');
  const repo = at < 0 ? text : text.slice(0, at);
  const named = at < 0 ? undefined : text.slice(at + 1);
  if (!isRepo(repo)) {
    throw new BitnetError(`'${repo}' is not the name of a model on the Hub`, {
      hint: 'a name is owner/model, as microsoft/bitnet-b1.58-2B-4T-gguf',
    });
  }
  if (named !== undefined && wanted !== undefined && named !== wanted) {
    throw new BitnetError(`two revisions of ${repo} are asked for: ${named} and ${wanted}`);
  }
  const revision = named ?? wanted ?? DEFAULT_REVISION;
  if (!REVISION.test(revision) || /\.\.|\/\//.test(revision)) {
    throw new BitnetError(`'${revision}' cannot be a revision`, { hint: 'it is a branch, a tag or a commit' });
  }
  return { repo, revision };
}

/** What a model is called here: `owner/name`, with `@revision` where that is not the main branch. */
export const modelName = ({ repo, revision }: ModelId): string =>
  revision === DEFAULT_REVISION ? repo : `${repo}@${revision}`;

/**
 * Whether a file name of a repository is one that stays inside a folder, and means the same on every system: relative,
 * no dots that lead upwards, nothing hidden, no Windows drives, streams or devices, no control or invisible characters.
 */
export function isSafePath(path: string): boolean {
  return path.length <= MAX_PATH && path.split('/').every(isSafeSegment);
}

function isSafeSegment(segment: string): boolean {
  const named = segment.length > 0 && segment.length <= MAX_SEGMENT;
  return named && !/^[.\s]|[.\s]$|[<>:"|?*\\]|\p{C}/u.test(segment) && !DEVICE.test(segment);
}
