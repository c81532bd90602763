import type { Generation, Model } from 'bitnet-toolchain/browser';
import { useEffect, useRef, useState } from 'preact/hooks';

interface Turn {
  readonly role: 'user' | 'assistant';
  readonly content: string;
}

/** A conversation, or with a model that was not trained for any, texts that it continues. */
export function Chat({ model }: { model: Model }) {
  const [turns, setTurns] = useState<readonly Turn[]>([]);
  const [text, setText] = useState(model.chatTemplate ? '' : 'Once upon a time');
  const [speed, setSpeed] = useState('');
  const [error, setError] = useState('');
  const running = useRef<AbortController>(undefined);
  const [busy, setBusy] = useState(false);
  const input = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    input.current?.focus();
    return () => running.current?.abort();
  }, []);

  const generate = (asked: readonly Turn[], signal: AbortSignal): Generation =>
    model.chatTemplate
      ? model.chat(asked as { role: string; content: string }[], { signal })
      : model.generate(text, { signal, maxTokens: 400 });

  const send = async () => {
    if (busy || text === '') return;
    const controller = new AbortController();
    running.current = controller;
    const asked = [...turns, { role: 'user', content: text } as const];
    setBusy(true);
    setError('');
    if (model.chatTemplate) setText('');
    let answer = '';
    const show = () => setTurns([...asked, { role: 'assistant', content: answer }]);
    show();
    const begun = performance.now();
    let first = 0;
    let tokens = 0;
    try {
      for await (const piece of generate(asked, controller.signal)) {
        first ||= performance.now();
        tokens++;
        answer += piece;
        show();
        const seconds = (performance.now() - first) / 1000;
        const rate = Math.round((tokens - 1) / seconds);
        if (tokens > 1) setSpeed(`${rate} tokens/s, first after ${Math.round(first - begun)} ms`);
      }
    } catch (reason) {
      if (!controller.signal.aborted) setError(String((reason as Error).message));
    } finally {
      setBusy(false);
      input.current?.focus();
    }
  };

  return (
    <>
      <div role="log" aria-live="polite" aria-busy={busy} aria-label="Conversation">
        {turns.map(({ role, content }, i) => (
          <p class={role} key={i}>
            {content}
          </p>
        ))}
      </div>
      {error && <p role="alert">{error}</p>}
      <p class="faint" id="speed">
        {speed}
      </p>
      <form
        class="row"
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        <textarea
          ref={input}
          rows={2}
          aria-label={model.chatTemplate ? 'Your message' : 'The beginning of a text'}
          value={text}
          onInput={({ currentTarget }) => setText(currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === 'Escape') running.current?.abort();
            if (event.key !== 'Enter' || event.shiftKey) return;
            event.preventDefault();
            void send();
          }}
        />
        {busy ? (
          <button type="button" onClick={() => running.current?.abort()}>
            Stop
          </button>
        ) : (
          <button type="submit">Send</button>
        )}
      </form>
    </>
  );
}
