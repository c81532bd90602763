import { useEffect, useState } from 'preact/hooks';

const NEXT: Readonly<Record<string, string>> = { '': 'light', light: 'dark', dark: '' };

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
  return (
    <button type="button" onClick={() => setTheme(NEXT[theme] ?? '')}>
      Colours: {theme === '' ? 'auto' : theme}
    </button>
  );
}
