import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { post, remove } from '../api/client';
import type { Token } from '../api/types';
import { ago, dateTime } from '../ui/format';
import { Dialog } from '../ui/dialog';
import { Icon } from '../ui/icons';
import { useRows } from './list';
import { fieldsOf, ListError, RoleSelect, roleWords, Secret, SureButton } from './parts';

const lifetimes: [string, string][] = [['30', '30 days'], ['90', '90 days'], ['365', 'One year'], ['', 'Without end']];

function NewToken({ onCreate, onClose }: { onCreate: (fields: Record<string, string>) => Promise<boolean>; onClose: () => void }): JSX.Element {
  const submit = async (event: Event) => {
    event.preventDefault();
    if (await onCreate(fieldsOf(event.currentTarget as HTMLFormElement))) onClose();
  };
  return (
    <Dialog title="New token" onClose={onClose}>
      <form onSubmit={submit}>
        <label class="field">What uses it<input name="name" required maxLength={200} placeholder="PACS router" autocomplete="off" /></label>
        <label class="field">Role<RoleSelect name="role" label="Role" value="technician" /></label>
        <label class="field">Valid for
          <select name="days">{lifetimes.map(([days, words]) => <option key={days} value={days}>{words}</option>)}</select>
        </label>
        <div class="form-foot"><button type="submit" class="primary">Create</button></div>
      </form>
    </Dialog>
  );
}

const isRevoked = (token: Token): boolean => token.revoked === true || !!token.revoked_at;

function stateOf(token: Token): string {
  if (isRevoked(token)) return 'Revoked';
  if (token.expires_at && Date.parse(token.expires_at) < Date.now()) return 'Expired';
  return token.expires_at ? `Until ${dateTime(token.expires_at)}` : 'Without end';
}

export function Tokens(): JSX.Element {
  const rows = useRows<Token>('/tokens');
  const adding = useSignal(false);
  const created = useSignal<Token | null>(null);
  const create = ({ name, role, days }: Record<string, string>) => rows.act(async () => {
    const expires_at = days ? new Date(Date.now() + Number(days) * 86400000).toISOString() : null;
    created.value = await post<Token>('/tokens', { name, role, expires_at });
  });
  return (
    <>
      <div class="admin-head"><h1>Tokens</h1>
        <button type="button" class="primary" onClick={() => { adding.value = true; }}><Icon name="plus" />New token</button></div>
      <p class="admin-lead">A token lets a program use the API in place of a person: <code>Authorization: Bearer kerf_…</code></p>
      <ListError text={rows.error.value} onRetry={() => void rows.reload()} />
      {rows.items.value?.length === 0 && <p class="muted">No tokens yet.</p>}
      {(rows.items.value?.length ?? 0) > 0 && (
        <table class="admin-table">
          <thead><tr><th>Used by</th><th>Role</th><th>Valid</th><th>Last used</th><th><span class="visually-hidden">Actions</span></th></tr></thead>
          <tbody>
            {rows.items.value?.map((token) => (
              <tr key={token.id} class={isRevoked(token) ? 'off' : ''}>
                <td>{token.name}</td>
                <td>{roleWords[token.role]}</td>
                <td>{stateOf(token)}</td>
                <td>{token.last_used_at ? ago(token.last_used_at) : 'Never'}</td>
                <td class="actions">
                  {!isRevoked(token) && (
                    <SureButton ask="Revoke for good" onSure={() => void rows.act(() => remove(`/tokens/${token.id}`))}>Revoke</SureButton>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {adding.value && <NewToken onCreate={create} onClose={() => { adding.value = false; }} />}
      {created.value?.token && (
        <Secret title={`Token for ${created.value.name}`} note="Keep it where the program reads it. It is not shown again."
          secret={created.value.token} onClose={() => { created.value = null; }} />
      )}
    </>
  );
}
