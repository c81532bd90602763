import { useEffect, useState } from 'preact/hooks';

const NEXT: Readonly<Record<string, string>> = { '': 'light', light: 'dark', dark: '' };
const NAMES: Readonly<Record<string, string>> = { light: 'Light', dark: 'Dark' };

/** What was chosen at an earlier visit; a browser may refuse to keep anything. */
function stored(): string {
  try {
    return localStorage.getItem('theme') ?? '';
  } catch {
    return '';
  }
}

function store(theme: string): void {
  try {
    localStorage.setItem('theme', theme);
  } catch {
    // Then it lasts as long as the page.
  }
}

/** Light, dark, or as the system is. */
export function ThemeButton() {
  const [theme, setTheme] = useState(stored);
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
    store(theme);
  }, [theme]);
  const name = NAMES[theme] ?? 'Auto';
  return (
    <button type="button" aria-label={`Colours: ${name}`} onClick={() => setTheme(NEXT[theme] ?? '')}>
      {name}
    </button>
  );
}
