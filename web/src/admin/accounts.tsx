import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { command, patch, post } from '../api/client';
import type { Account } from '../api/types';
import { session } from '../app/session';
import { dateTime } from '../ui/format';
import { Dialog } from '../ui/dialog';
import { Icon } from '../ui/icons';
import { useRows } from './list';
import { fieldsOf, ListError, RoleSelect, Secret, SureButton } from './parts';

type Created = Account & { one_time_password: string };

function NewAccount({ onCreate, onClose }: { onCreate: (fields: Record<string, string>) => Promise<boolean>; onClose: () => void }): JSX.Element {
  const submit = async (event: Event) => {
    event.preventDefault();
    if (await onCreate(fieldsOf(event.currentTarget as HTMLFormElement))) onClose();
  };
  return (
    <Dialog title="New account" onClose={onClose}>
      <form onSubmit={submit}>
        <label class="field">Name to sign in with
          <input name="login" required maxLength={200} autocapitalize="none" spellcheck={false} autocomplete="off" />
        </label>
        <label class="field">Full name<input name="display_name" required maxLength={200} autocomplete="off" /></label>
        <label class="field">Role<RoleSelect name="role" label="Role" value="planner" /></label>
        <div class="form-foot"><button type="submit" class="primary">Create</button></div>
      </form>
    </Dialog>
  );
}

function stateOf(account: Account): string {
  if (account.disabled) return 'Disabled';
  if (account.locked_until && Date.parse(account.locked_until) > Date.now()) return `Locked until ${dateTime(account.locked_until)}`;
  return account.must_change_password ? 'Must choose a password' : 'Active';
}

export function Accounts(): JSX.Element {
  const rows = useRows<Account>('/accounts');
  const adding = useSignal(false);
  const created = useSignal<Created | null>(null);
  const self = session.value?.account.id;

  const create = (fields: Record<string, string>) => rows.act(async () => {
    created.value = await post<Created>('/accounts', { ...fields, login: fields['login'].toLowerCase() });
  });
  const change = (account: Account, what: Partial<Account>) => rows.act(() => patch(`/accounts/${account.id}`, what));
  const reset = (account: Account) => rows.act(async () => {
    created.value = await command<Created>(`/accounts/${account.id}/password-reset`);
  });

  return (
    <>
      <div class="admin-head"><h1>Accounts</h1>
        <button type="button" class="primary" onClick={() => { adding.value = true; }}><Icon name="plus" />New account</button></div>
      <ListError text={rows.error.value} onRetry={() => void rows.reload()} />
      <table class="admin-table">
        <thead><tr><th>Name</th><th>Sign-in</th><th>Role</th><th>State</th><th><span class="visually-hidden">Actions</span></th></tr></thead>
        <tbody>
          {rows.items.value?.map((account) => (
            <tr key={account.id} class={account.disabled ? 'off' : ''}>
              <td>{account.display_name}</td>
              <td>{account.login}</td>
              <td>{account.id === self ? account.role : (
                <RoleSelect value={account.role} label={`Role of ${account.display_name}`} onChange={(role) => void change(account, { role })} />
              )}</td>
              <td>{stateOf(account)}</td>
              <td class="actions">
                {account.locked_until && <button type="button" class="small" onClick={() => void change(account, { locked_until: null })}>Unlock</button>}
                {account.id !== self && <SureButton ask="Reset and end its sessions" onSure={() => void reset(account)}>Reset password</SureButton>}
                {account.id !== self && (account.disabled
                  ? <button type="button" class="small" onClick={() => void change(account, { disabled: false })}>Enable</button>
                  : <SureButton ask="Disable and sign out" onSure={() => void change(account, { disabled: true })}>Disable</SureButton>)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {adding.value && <NewAccount onCreate={create} onClose={() => { adding.value = false; }} />}
      {created.value && (
        <Secret title={`One-time password for ${created.value.display_name}`}
          note="It works once: the first sign-in asks for a new one. It is not shown again."
          secret={created.value.one_time_password} onClose={() => { created.value = null; }} />
      )}
    </>
  );
}
