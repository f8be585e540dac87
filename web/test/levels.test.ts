import { describe, expect, it } from 'vitest';
import type { Artefact, LevelReview, Segment } from '../src/api/types';
import { choose, follows, levelNames, levelsFault, segmentsAsNamed, spanOf, vertebraeOf, withConfirmed } from '../src/case/level_names';
import { structuresOf } from '../src/case/model';

const blank = (n: number) => Array<string>(n).fill('');

describe('levels that a person chooses', () => {
  it('follow from the top down as in most people, from whichever was chosen', () => {
    expect(choose(blank(5), 0, 'L1')).toEqual(['L1', 'L2', 'L3', 'L4', 'L5']);
    expect(choose(blank(5), 4, 'L2')).toEqual(['T10', 'T11', 'T12', 'L1', 'L2']);
    expect(choose(blank(3), 1, 'T1')).toEqual(['C7', 'T1', 'T2']);
    expect(choose(blank(3), 1, 'C1')).toEqual(['', 'C1', 'C2']);
    expect(choose(blank(3), 0, 'L5')).toEqual(['L5', 'L6', '']);
  });

  it('keep what lies above a vertebra more or less, and shift what lies below', () => {
    const twelve = ['T11', 'T12', 'L1', 'L2'];
    expect(choose(twelve, 2, 'T13')).toEqual(['T11', 'T12', 'T13', 'L1']);
    expect(choose(twelve, 1, 'L1')).toEqual(['T11', 'L1', 'L2', 'L3']); // eleven ribs
    expect(choose(twelve, 3, 'L3')).toEqual(['T12', 'L1', 'L2', 'L3']);
  });

  it('are refused where they leave a gap', () => {
    expect(levelsFault(['T12', 'L1', 'L2'])).toBe('');
    expect(levelsFault(blank(3))).toBe('');
    expect(levelsFault(['T10', 'L1'])).toBe('L1 does not come right below T10.');
    expect(levelsFault(['', 'C1'])).not.toBe('');
    // Every pair that the form may offer, held against the rule in words.
    const pairs = levelNames.flatMap((a) => levelNames.filter((b) => follows(a, b)).map((b) => `${a}${b}`));
    expect(pairs).toHaveLength(6 + 12 + 5 + 1 + 3);
    expect(pairs).toEqual(expect.arrayContaining(['C7T1', 'T11L1', 'T12L1', 'T13L1', 'T12T13', 'L5L6']));
  });

  it('are told as a span', () => {
    expect([spanOf({ 30: 'L1', 9: 'T12', 100: 'L2' }), spanOf({ 3: 'L4' }), spanOf({})]).toEqual(['T12 to L2', 'L4', '']);
  });
});

describe('levels that two people confirmed', () => {
  const segment = (label: number, name: string): Segment => ({ label, name, colour: '#ffffff' });
  const of = {
    id: 'spine', case_id: 'c', series_id: 's', job_id: 'j', name: 'labels', kind: 'segmentation', sha256: 'a', bytes: 1, media_type: '', superseded: false,
    created_at: '2026-01-01T00:00:00Z', url: '/b', meta: { levels: 'unconfirmed', segments: [
      segment(41, 'Vertebra 2 of 2 (level unconfirmed)'), segment(40, 'Vertebra 1 of 2 (level unconfirmed)'),
      segment(140, 'Disc below vertebra 1 of 2 (level unconfirmed)'), segment(141, 'Disc below vertebra 2 of 2 (level unconfirmed)'), segment(7, 'Sacrum'),
    ] },
  } as Artefact;
  const review = (change: Partial<LevelReview>) => new Map([['spine', { artefact_id: 'spine', state: 'confirmed', levels: { 40: 'L4', 41: 'L5' }, statements: [], ...change } as LevelReview]]);

  it('name vertebrae and discs, in the list and on the slices', () => {
    expect(vertebraeOf(of).map((s) => s.label)).toEqual([40, 41]);
    const named = withConfirmed(structuresOf([of]), review({}));
    expect(named.map((s) => [s.called, s.name, s.mark])).toEqual([
      ['Vertebra L5', 'Vertebra L5', 'L5'], ['Vertebra L4', 'Vertebra L4', 'L4'], ['Disc L4-L5', 'Disc L4-L5', ''], ['Disc below L5', 'Disc below L5', ''],
      ['Sacrum', 'Sacrum', ''],
    ]);
  });

  it('name the discs anew too where the job had named all of them otherwise', () => {
    const level = (label: number, name: string): Segment => ({ ...segment(label, `Vertebra ${name}`), level: name });
    const named = { ...of, meta: { levels: 'named', segments: [
      level(23, 'L4'), level(24, 'L5'), segment(73, 'Disc L4-L5'), segment(74, 'Disc L5-S1'), segment(100, 'Sacrum'),
    ] } } as Artefact;
    const called = (levels: LevelReview['levels']) => withConfirmed(structuresOf([named]), review({ levels })).map((s) => s.called);
    expect(called({ 23: 'L4', 24: 'L5' })).toEqual(structuresOf([named]).map((s) => s.called));
    expect(called({ 23: 'L5', 24: 'L6' })).toEqual(['Vertebra L5', 'Vertebra L6', 'Disc L5-L6', 'Disc L6-S1', 'Sacrum']);
  });

  it('name the parts of a comparison as the list does', () => {
    const structures = withConfirmed(structuresOf([of]), review({}));
    expect(segmentsAsNamed(of, structures).filter((s) => /^Vertebra/.test(s.name)).map((s) => [s.label, s.name]).sort())
      .toEqual([[40, 'Vertebra L4'], [41, 'Vertebra L5']]);
    expect(segmentsAsNamed({ ...of, id: 'another' } as Artefact, structures)).toEqual(of.meta.segments);
  });

  it('name nothing before both agree, and keep the keys by which people coloured things', () => {
    const before = structuresOf([of]);
    expect(withConfirmed(before, review({ state: 'once', levels: null })).map((s) => s.mark)).toEqual(['2?', '1?', '', '', '']);
    expect(withConfirmed(before, review({})).map((s) => s.key)).toEqual(before.map((s) => s.key));
  });
});
