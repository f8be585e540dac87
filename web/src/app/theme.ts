// Light, dark, or what the system says. The choice stays in this browser.
import { signal } from '@preact/signals';

export type Theme = 'auto' | 'light' | 'dark';

function stored(): Theme {
  const value = localStorage.getItem('kerf-theme');
  return value === 'light' || value === 'dark' ? value : 'auto';
}

export const theme = signal<Theme>(stored());

export function applyTheme(): void {
  document.documentElement.dataset['theme'] = theme.value;
}

export function isDark(): boolean {
  return theme.value === 'auto' ? matchMedia('(prefers-color-scheme: dark)').matches : theme.value === 'dark';
}

function setTheme(next: Theme): void {
  theme.value = next;
  localStorage.setItem('kerf-theme', next);
  applyTheme();
}

export function toggleTheme(): void {
  setTheme(isDark() ? 'light' : 'dark');
}
