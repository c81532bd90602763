/** Bumped when an older runtime could misread a newer artifact. */
export const ARTIFACT_FORMAT = 2;
/** Equals BN_ABI_VERSION in abi.h. */
export const ABI_VERSION = 3;
