// Where the page starts.
import { render, type JSX } from 'preact';
import { lazy, Suspense } from 'preact/compat';
import { FirstPassword, SignIn } from '../signin/signin';
import { UploadPanel } from '../upload/panel';
import { Toasts } from '../ui/toast';
import '../ui/base.css';
import '../ui/controls.css';
import { Worklist } from '../worklist/worklist';
import { followLink, route } from './router';
import { loadSession, session } from './session';
import { Shell } from './shell';
import { applyTheme } from './theme';

// The viewer and administration come when they are asked for: the work list needs neither.
const CasePage = lazy(() => import('../case/page'));
const AdminPage = lazy(() => import('../admin/admin'));

function Unknown(): JSX.Element {
  return (
    <Shell>
      <main class="empty"><h1>There is nothing here</h1><p><a href="/">Go to the work list</a></p></main>
    </Shell>
  );
}

function Page(): JSX.Element | null {
  if (session.value === undefined) return null;
  if (session.value === null) return <SignIn />;
  if (session.value.account.must_change_password) return <FirstPassword />;
  const now = route.value;
  switch (now.page) {
    case 'worklist': return <Worklist />;
    case 'case': return <CasePage key={now.id} id={now.id} />;
    case 'admin': return <AdminPage tab={now.tab} />;
    case 'unknown': return <Unknown />;
  }
}

function App(): JSX.Element {
  return (
    <>
      <Suspense fallback={<div class="loading" aria-busy="true" />}><Page /></Suspense>
      {session.value && <UploadPanel />}
      <Toasts />
    </>
  );
}

applyTheme();
document.addEventListener('click', followLink);
const root = document.getElementById('app');
if (root) render(<App />, root);
void loadSession();
