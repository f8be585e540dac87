// A list of rows from the API, with what every admin page needs around it.
import { useSignal, type Signal } from '@preact/signals';
import { useEffect, useMemo } from 'preact/hooks';
import { getAll } from '../api/client';
import { inOrder } from '../api/refresher';
import { reason, sayError } from '../ui/toast';

export interface Rows<T> {
  items: Signal<T[] | null>;
  error: Signal<string>;
  reload: () => Promise<void>;
  /** Runs an action, says what went wrong, and reads the list again. */
  act: (action: () => Promise<unknown>) => Promise<boolean>;
}

export function useRows<T>(path: string): Rows<T> {
  const items = useSignal<T[] | null>(null);
  const error = useSignal('');
  const read = useMemo(() => inOrder(() => getAll<T>(path), (rows) => { items.value = rows; }), [path]);
  const reload = async () => {
    try {
      await read();
      error.value = '';
    } catch (cause) {
      error.value = reason(cause);
    }
  };
  const act = async (action: () => Promise<unknown>) => {
    try {
      await action();
      await reload();
      return true;
    } catch (cause) {
      sayError(cause);
      return false;
    }
  };
  useEffect(() => void reload(), [path]);
  return { items, error, reload, act };
}
