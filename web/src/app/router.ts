// The address bar as state. Paths: `/` work list, `/cases/ID` a case, `/admin/PAGE` administration.
import { signal } from '@preact/signals';

export type Route =
  | { page: 'worklist' }
  | { page: 'case'; id: string }
  | { page: 'admin'; tab: string }
  | { page: 'unknown' };

function parseRoute(path: string): Route {
  const parts = path.split('/').filter(Boolean);
  if (parts.length === 0) return { page: 'worklist' };
  if (parts[0] === 'cases' && parts.length === 2) return { page: 'case', id: decodeURIComponent(parts[1]) };
  if (parts[0] === 'admin' && parts.length <= 2) return { page: 'admin', tab: parts[1] ?? 'accounts' };
  return { page: 'unknown' };
}

export const route = signal<Route>(parseRoute(location.pathname));

export function navigate(path: string): void {
  if (path !== location.pathname) history.pushState(null, '', path);
  route.value = parseRoute(path);
  scrollTo(0, 0);
}

addEventListener('popstate', () => {
  route.value = parseRoute(location.pathname);
});

/** Plain clicks on links within the page change the route; anything else (new tab, download) is the browser's. */
export function followLink(event: MouseEvent): void {
  const link = (event.target as Element | null)?.closest('a');
  if (!link || link.target || link.hasAttribute('download') || link.origin !== location.origin) return;
  if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (parseRoute(link.pathname).page === 'unknown') return;
  event.preventDefault();
  navigate(link.pathname);
}
