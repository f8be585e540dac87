import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { get, post, remove } from '../api/client';
import type { ListenerSettings, Peer } from '../api/types';
import { Dialog } from '../ui/dialog';
import { Icon } from '../ui/icons';
import { useRows } from './list';
import { fieldsOf, ListError, SureButton } from './parts';

function NewPeer({ onCreate, onClose }: { onCreate: (fields: Record<string, string>) => Promise<boolean>; onClose: () => void }): JSX.Element {
  const submit = async (event: Event) => {
    event.preventDefault();
    if (await onCreate(fieldsOf(event.currentTarget as HTMLFormElement))) onClose();
  };
  return (
    <Dialog title="New peer" onClose={onClose}>
      <form onSubmit={submit}>
        <label class="field">Name<input name="name" required maxLength={200} placeholder="Radiology PACS" autocomplete="off" /></label>
        <label class="field">Its AE title<input name="ae_title" required maxLength={16} placeholder="PACS" autocomplete="off" /></label>
        <p class="hint">As the sender calls itself, at most 16 characters; * allows any.</p>
        <label class="field">From address<input name="address" maxLength={64} placeholder="10.1.2.0/24" autocomplete="off" /></label>
        <p class="hint">One address or a network; empty allows any.</p>
        <div class="form-foot"><button type="submit" class="primary">Add</button></div>
      </form>
    </Dialog>
  );
}

/** What to type into the PACS. */
function HowTo({ listener }: { listener: ListenerSettings['dicom'] | null }): JSX.Element {
  const host = location.hostname === 'localhost' || location.hostname === '127.0.0.1' ? 'the address of this machine' : location.hostname;
  return (
    <section class="howto" aria-label="How to point a PACS at Kerf">
      <h2>Point a PACS at Kerf</h2>
      <ol>
        <li>In the PACS, add a DICOM destination with these values.</li>
        <li>Below, allow the PACS to send: its AE title and its address.</li>
        <li>Let the PACS test the connection (C-ECHO), then send a study. It appears in the work list by itself.</li>
      </ol>
      <dl>
        <div><dt>Host</dt><dd>{host}</dd></div>
        <div><dt>AE title</dt><dd>{listener?.ae_title ?? 'KERF, unless it was set otherwise'}</dd></div>
        <div><dt>Port</dt><dd>{listener?.port ?? '11112, unless it was set otherwise'}</dd></div>
        {listener?.tls_port ? <div><dt>Port with TLS</dt><dd>{listener.tls_port}</dd></div> : null}
      </dl>
    </section>
  );
}

export function Peers(): JSX.Element {
  const rows = useRows<Peer>('/peers');
  const adding = useSignal(false);
  const listener = useSignal<ListenerSettings['dicom'] | null>(null);
  useEffect(() => {
    // Installations that do not say where they listen answer 404; the page then gives the defaults.
    get<ListenerSettings>('/settings').then((settings) => { listener.value = settings.dicom ?? null; }, () => undefined);
  }, []);
  const create = ({ name, ae_title, address }: Record<string, string>) => rows.act(() =>
    post('/peers', { name, ae_title, address: address || null }));
  return (
    <>
      <div class="admin-head"><h1>DICOM peers</h1>
        <button type="button" class="primary" onClick={() => { adding.value = true; }}><Icon name="plus" />New peer</button></div>
      <HowTo listener={listener.value} />
      <ListError text={rows.error.value} onRetry={() => void rows.reload()} />
      <table class="admin-table">
        <thead><tr><th>Name</th><th>AE title</th><th>From</th><th>May store</th><th><span class="visually-hidden">Actions</span></th></tr></thead>
        <tbody>
          {rows.items.value?.map((peer) => (
            <tr key={peer.id}>
              <td>{peer.name}</td>
              <td>{peer.ae_title === '*' ? 'any' : peer.ae_title}</td>
              <td>{peer.address ?? 'any'}{peer.tls ? ' · TLS' : ''}</td>
              <td>{peer.may_store ? 'Yes' : 'No'}</td>
              <td class="actions">
                <SureButton ask="Remove" onSure={() => void rows.act(() => remove(`/peers/${peer.id}`))}>Remove</SureButton>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {rows.items.value?.length === 0 && <p class="muted">Nobody may send yet.</p>}
      {adding.value && <NewPeer onCreate={create} onClose={() => { adding.value = false; }} />}
    </>
  );
}
