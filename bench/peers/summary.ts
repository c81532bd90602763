import { number, percent } from '../../cli/format.ts';
import { type Estimate, estimate, isClear } from '../../statistics.ts';
import { barChart, intervalText } from '../report/bars.ts';
import { htmlTable, page } from '../report/page.ts';
import type { ModelFile, Speeds, Work } from './engine.ts';
import { OURS } from './ours.ts';

/** What one engine did, round by round. */
export interface EngineRounds {
  readonly name: string;
  readonly model: ModelFile;
  readonly rounds: readonly Speeds[];
}

/** The machine in each round: 10^9 bytes read and 10^9 int8 multiply-accumulates, a second. */
export interface MachineRound {
  readonly read: number;
  readonly int8: number;
}

export interface PeerSummary {
  readonly format: 1;
  readonly date: string;
  readonly shape: string;
  readonly cpu: string;
  readonly work: Work;
  readonly machine: { readonly readGBps: Estimate; readonly int8GMACps: Estimate };
  readonly engines: readonly EngineSummary[];
}

export interface EngineSummary {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  readonly weights: string;
  readonly head: string;
  readonly bytesPerToken: number;
  readonly prefill: Figure;
  readonly decode: Figure;
}

export interface Figure {
  /** Tokens a second, of each round and over them. */
  readonly rounds: readonly number[];
  readonly tokensPerSecond: Estimate;
  /** Of the int8 peak (prefill) or of the bytes that the memory gives (decode), as measured in the same round. */
  readonly share: Estimate;
  /** Our speed with the same head over this one's, round by round: both met the same machine. */
  readonly behindOurs: Estimate;
}

/** Every engine against ours, which is the first with each head, and against the machine, each round by itself. */
export function summarise(
  engines: readonly EngineRounds[],
  machine: readonly MachineRound[],
  macsPerToken: number,
): Pick<PeerSummary, 'machine' | 'engines'> {
  const oursLike = ({ model }: EngineRounds) => engines.find((engine) => engine.model.head === model.head)!;
  const figure = (
    engine: EngineRounds,
    of: (speeds: Speeds) => number,
    share: (speed: number, limits: MachineRound) => number,
  ): Figure => {
    const speeds = engine.rounds.map(of);
    const ours = oursLike(engine).rounds.map(of);
    return {
      rounds: speeds,
      tokensPerSecond: estimate(speeds),
      share: estimate(speeds.map((speed, i) => share(speed, machine[i]!))),
      behindOurs: estimate(speeds.map((speed, i) => ours[i]! / speed)),
    };
  };
  return {
    machine: {
      readGBps: estimate(machine.map(({ read }) => read)),
      int8GMACps: estimate(machine.map(({ int8 }) => int8)),
    },
    engines: engines.map((engine) => {
      const { architecture, weights, head, bytesPerToken } = engine.model;
      return {
        name: engine.name,
        version: engine.rounds[0]!.version,
        architecture,
        weights,
        head,
        bytesPerToken,
        prefill: figure(
          engine,
          ({ prefill }) => prefill,
          (speed, { int8 }) => (speed * macsPerToken) / (int8 * 1e9),
        ),
        decode: figure(
          engine,
          ({ decode }) => decode,
          (speed, { read }) => (speed * bytesPerToken) / (read * 1e9),
        ),
      };
    }),
  };
}

export const PEER_HEADINGS = [
  'engine',
  'weights',
  'head',
  'prefill tok/s',
  'interval',
  'of int8',
  'ours is',
  'decode tok/s',
  'interval',
  'of reading',
  'ours is',
] as const;

export function peerTable({ engines }: Pick<PeerSummary, 'engines'>): string[][] {
  const figure = ({ tokensPerSecond, share, behindOurs }: Figure) => [
    number(tokensPerSecond.median),
    intervalText(tokensPerSecond),
    percent(share.median),
    `${number(behindOurs.median)}×${isClear(behindOurs) || behindOurs.median === 1 ? '' : ' (not clear)'}`,
  ];
  return engines.map(({ name, version, weights, head, prefill, decode }) => [
    `${name} ${version}`,
    weights,
    head,
    ...figure(prefill),
    ...figure(decode),
  ]);
}

export function peerPage(summary: PeerSummary): string {
  const { shape, cpu, date, work, machine, engines } = summary;
  const bars = (kind: 'prefill' | 'decode') =>
    barChart(
      engines.map((engine) => ({
        label: `${engine.name}, ${engine.head}`,
        value: engine[kind].tokensPerSecond,
        series: engine.name.startsWith(OURS) ? 0 : 5,
        note: `${percent(engine[kind].share.median)} of ${kind === 'prefill' ? 'the int8 peak' : 'the bandwidth'}`,
      })),
      'tokens/s',
    );
  return page(
    `Engines side by side, shape ${shape}`,
    `${work.threads} threads, ${cpu}, ${date}: reading ${number(machine.readGBps.median)} GB/s, ` +
      `${number(machine.int8GMACps.median)} G int8 MAC/s`,
    [
      { title: `Prefill of ${work.promptTokens} tokens, tokens a second`, content: bars('prefill') },
      { title: `Decode of ${work.newTokens} tokens, tokens a second`, content: bars('decode') },
      {
        title: 'Figures',
        content: htmlTable(PEER_HEADINGS, peerTable(summary)),
        note: 'Medians over rounds in which the engines took turns. “Ours is”: our speed with the same head over this one’s, round by round.',
      },
    ],
  );
}
