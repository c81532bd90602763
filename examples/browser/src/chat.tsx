import type { Generation, Model } from 'bitnet-toolchain/browser';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { describe } from './errors.ts';

interface Turn {
  readonly role: 'user' | 'assistant';
  readonly content: string;
}

const HELP = 'Enter sends, Shift + Enter begins a new line, Escape stops.';

const speedOf = (tokensPerSecond: number, firstMs: number): string =>
  `${tokensPerSecond.toFixed(tokensPerSecond < 10 ? 1 : 0)} tokens/s, first after ${Math.round(firstMs)} ms`;

/** Whether the end of what scrolls is in sight. */
const isAtEnd = ({ scrollTop, scrollHeight, clientHeight }: Element): boolean =>
  scrollHeight - scrollTop - clientHeight < 32;

/** A conversation, or with a model that was not trained for any, texts that it continues. */
export function Chat({ model }: { model: Model }) {
  const [turns, setTurns] = useState<readonly Turn[]>([]);
  const [text, setText] = useState(model.chatTemplate ? '' : 'Once upon a time');
  const [speed, setSpeed] = useState('');
  const [error, setError] = useState('');
  const [said, setSaid] = useState('');
  const [busy, setBusy] = useState(false);
  const running = useRef<AbortController>(undefined);
  const input = useRef<HTMLTextAreaElement>(null);
  const log = useRef<HTMLDivElement>(null);
  /** Whether the end of the conversation is to stay in sight as more comes. */
  const atEnd = useRef(true);

  useEffect(() => {
    // Whoever is elsewhere by now is left there.
    if (document.activeElement === document.body) input.current?.focus();
    return () => running.current?.abort();
  }, []);
  useLayoutEffect(() => {
    if (atEnd.current) log.current?.scrollTo({ top: log.current.scrollHeight });
  }, [turns]);

  const generate = (asked: readonly Turn[], signal: AbortSignal): Generation =>
    model.chatTemplate
      ? model.chat(asked as { role: string; content: string }[], { signal })
      : model.generate(text, { signal, maxTokens: 400 });

  const send = async () => {
    if (busy || text === '') return;
    const controller = new AbortController();
    const { signal } = controller;
    running.current = controller;
    const asked = [...turns, { role: 'user', content: text } as const];
    let answer = '';
    const show = () => setTurns([...asked, { role: 'assistant', content: answer }]);
    setBusy(true);
    setError('');
    setSaid('');
    setSpeed('');
    if (model.chatTemplate) setText('');
    atEnd.current = true;
    input.current?.focus();
    show();
    const begun = performance.now();
    let first = 0;
    let pieces = 0;
    try {
      const generation = generate(asked, signal);
      for await (const piece of generation) {
        const now = performance.now();
        first ||= now;
        answer += piece;
        atEnd.current = isAtEnd(log.current!);
        show();
        if (pieces++ > 0) setSpeed(speedOf(((pieces - 1) / (now - first)) * 1000, first - begun));
      }
      const { stats } = await generation.result;
      setSpeed(speedOf(stats.decodeTokensPerSecond, stats.timeToFirstTokenMs));
    } catch (reason) {
      if (!signal.aborted) setError(describe(reason));
    }
    if (answer === '') {
      // It was never said.
      setTurns(turns);
      setText(text);
    }
    setSaid(answer);
    setBusy(false);
  };
  const stop = () => {
    running.current?.abort();
    input.current?.focus();
  };

  return (
    <>
      <div
        ref={log}
        class="log"
        role="log"
        aria-live="off"
        aria-label="Conversation"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is scrolled by keyboard, too
        tabIndex={0}
      >
        {turns.map(({ role, content }, i) => (
          <p class={role} key={i}>
            {role === 'assistant' ? content.trimStart() : content}
          </p>
        ))}
      </div>
      {/* An answer is read out when it is there, not word by word. */}
      <p class="unseen" role="status">
        {said}
      </p>
      {error && <p role="alert">{error}</p>}
      <form
        class="row"
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
        onKeyDown={(event) => {
          if (event.key === 'Escape') stop();
        }}
      >
        <textarea
          ref={input}
          rows={2}
          aria-label={model.chatTemplate ? 'Your message' : 'The beginning of a text'}
          aria-describedby="speed"
          value={text}
          onInput={({ currentTarget }) => setText(currentTarget.value)}
          onKeyDown={(event) => {
            // Enter also ends what an input method composes.
            if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            void send();
          }}
        />
        {/* Two buttons, by their keys: one that became the other while it is clicked would stop, and send at once. */}
        {busy ? (
          <button key="stop" type="button" class="first" onClick={stop}>
            Stop
          </button>
        ) : (
          <button key="send" type="submit" class="first" disabled={text === ''}>
            Send
          </button>
        )}
      </form>
      <div class="row foot">
        <span class="faint" id="speed">
          {speed || HELP}
        </span>
        {turns.length > 0 && (
          <button type="button" disabled={busy} onClick={() => setTurns([])}>
            Clear
          </button>
        )}
      </div>
    </>
  );
}
