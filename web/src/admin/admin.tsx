// Administration: accounts, tokens for machines, peers (how a PACS reaches us), and jobs that gave up.
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import type { Role } from '../api/types';
import { mayDo } from '../app/session';
import { Shell } from '../app/shell';
import { Accounts } from './accounts';
import './admin.css';
import { DeadJobs } from './jobs';
import { Peers } from './peers';
import { Tokens } from './tokens';

interface Tab {
  id: string;
  name: string;
  roles: Role[];
  page: () => JSX.Element;
}

const tabs: Tab[] = [
  { id: 'accounts', name: 'Accounts', roles: ['admin'], page: Accounts },
  { id: 'tokens', name: 'Tokens', roles: ['admin'], page: Tokens },
  { id: 'peers', name: 'DICOM peers', roles: ['admin', 'technician'], page: Peers },
  { id: 'jobs', name: 'Failed jobs', roles: ['admin'], page: DeadJobs },
];

export default function AdminPage({ tab }: { tab: string }): JSX.Element {
  const allowed = tabs.filter((t) => mayDo(...t.roles));
  const now = allowed.find((t) => t.id === tab) ?? allowed[0];
  useEffect(() => { document.title = `${now?.name ?? 'Administration'} · Kerf`; }, [now?.id]);
  const Body = now?.page;
  return (
    <Shell bar={<span class="bar-title">Administration</span>}>
      <div class="admin">
        <nav class="admin-tabs" aria-label="Administration">
          {allowed.map((t) => <a key={t.id} href={`/admin/${t.id}`} aria-current={t === now ? 'page' : undefined}>{t.name}</a>)}
        </nav>
        <main class="admin-body">
          {Body ? <Body /> : <div class="empty"><h2>Nothing for you here</h2><p>Administration is for administrators and technicians.</p></div>}
        </main>
      </div>
    </Shell>
  );
}
