'use strict';

/*
 * What Omniboard asks the store, asked so that the embedded store answers it quickly, and for runs as ours are kept.
 *
 * Omniboard builds the rows of its list of all runs there are, then sorts and cuts, and joins each with its metrics by an
 * expression. MongoDB sees through that. The embedded store does as it is told: it would read every run whole, and every
 * series for each of them. Here the ids that the page shows are asked for first, and the rows are built of those runs.
 *
 * Of a run's sources and packages its document has the id alone (pipeline/tracking/environment.py); Omniboard looks for
 * both within `experiment`.
 */

const ENVIRONMENTS = 'environments';

function changeQueries(mongoose, runsSchema) {
  const {Model} = mongoose;
  const aggregate = Model.aggregate;
  Model.aggregate = function (stages) {
    const answer = () => answered(this, stages, changed => aggregate.call(this, changed).allowDiskUse(true).exec());
    const query = {allowDiskUse: () => query, exec: callback => told(answer(), callback)};
    return query;
  };
  Model.distinct = function (path, callback) {
    return told(distinctValues(this.collection, path), callback);
  };
  runsSchema.post('findOne', async function (run) {
    const id = run && run.experiment && run.experiment.environment;
    const found = id && (await this.model.db.collection(ENVIRONMENTS).findOne({_id: id}));
    if (found) Object.assign(run.experiment, {sources: found.sources, dependencies: found.dependencies});
  });
}

/* What the callback throws is not an error of the question, which it would be told once more. */
function told(answer, callback) {
  answer.then(
    found => process.nextTick(callback, null, found),
    error => process.nextTick(callback, error)
  );
}

async function answered(model, stages, ask) {
  if (countsSources(stages)) return [];
  const joined = joinEnvironment(stages.flatMap(joinById));
  const choice = chosenFirst(joined);
  if (!choice) return ask(joined);
  const {match, sort, window, rest, counted} = choice;
  if (counted) { // not `countDocuments`, which is an aggregation
    const {$skip: skip = 0, $limit: limit = 0} = window;
    const {n} = await model.db.db.command({count: model.collection.name, query: match, skip, limit});
    return n ? [{[counted]: n}] : [];
  }
  const found = model.collection.find(match, {projection: {_id: 1}});
  if (sort) found.sort(sort);
  if (window.$skip) found.skip(window.$skip);
  if (window.$limit) found.limit(window.$limit);
  const ids = (await found.toArray()).map(run => run._id);
  return ask([{$match: {_id: {$in: ids}}}, ...(sort ? [{$sort: sort}] : []), ...rest]);
}

/* By how many runs a source file is used, which Omniboard asks to remove those of one run alone: `odenet gc` does that. */
function countsSources(stages) {
  return stages.length > 0 && stages[0].$project !== undefined && stages[0].$project.sources === '$experiment.sources';
}

/* The join of Omniboard's list, answered by an index; the stages after it pick the metrics that are wanted. */
function joinById(stage) {
  const join = stage.$lookup;
  if (!join || !join.let || !join.let.metric_id) return [stage];
  const {from, as} = join;
  return [
    {$addFields: {[as]: join.let.metric_id}},
    {$lookup: {from, localField: as, foreignField: '_id', as}}
  ];
}

/* For one run, and where sources are looked for. */
function joinEnvironment(stages) {
  const isOfOne = stages.length > 0 && stages[0].$match !== undefined && typeof stages[0].$match._id === 'number';
  const place = stages.findIndex(stage => stage.$unwind && stage.$unwind.path === '$experiment.sources');
  if (place < 0) return isOfOne ? [...stages, ...environmentStages()] : stages;
  return [...stages.slice(0, place), ...environmentStages(), ...stages.slice(place)];
}

function environmentStages() {
  const part = name => ({$ifNull: [`$environment.${name}`, `$experiment.${name}`]});
  return [
    {$lookup: {from: ENVIRONMENTS, localField: 'experiment.environment', foreignField: '_id', as: 'environment'}},
    {$unwind: {path: '$environment', preserveNullAndEmptyArrays: true}},
    {$addFields: {'experiment.sources': part('sources'), 'experiment.dependencies': part('dependencies')}},
    {$project: {environment: 0}}
  ];
}

/*
 * How the runs of a list are chosen, if that goes by what is stored and not by what the rows are made of, and the stages
 * that build the rows of those that are.
 */
function chosenFirst(stages) {
  const building = [];
  const matches = [];
  let next = 0;
  for (; next < stages.length; next++) {
    const {$match, $project, $addFields} = stages[next];
    if ($match) matches.push($match);
    else if ($project || $addFields) building.push(stages[next]);
    else break;
  }
  const sort = next < stages.length ? stages[next].$sort : undefined;
  if (sort) next++;
  const window = {};
  for (; next < stages.length && (stages[next].$skip || stages[next].$limit); next++) Object.assign(window, stages[next]);
  const rest = [...building, ...stages.slice(next)];
  const made = building.flatMap(stage => Object.keys(stage.$addFields || {}));
  const stored = made.includes('status') ? matches.map(onStoredStatus) : matches;
  const used = [...namedFields(stored), ...Object.keys(sort || {}).map(name => (name === 'status' ? MADE_STATUS : name))];
  const counted = rest.length ? rest[rest.length - 1].$count : undefined;
  const isMade = name => name === MADE_STATUS || made.some(one => one !== 'status' && overlaps(one, name));
  if (!(window.$limit || counted) || used.some(isMade)) return null;
  return {match: stored.length > 1 ? {$and: stored} : stored[0] || {}, sort, window, rest, counted};
}

/* Omniboard's status is PROBABLY_DEAD where the stored one is RUNNING and the heartbeat, or without one the start, is so many milliseconds old. */
const SILENCE = 120000;
const MADE_STATUS = 'status as Omniboard makes it';

/* A filter in which conditions on Omniboard's status are on what is stored; some are left as on MADE_STATUS. */
function onStoredStatus(filter) {
  const parts = Object.keys(filter).map(key => {
    const asked = filter[key];
    if (['$and', '$or', '$nor'].includes(key)) return {[key]: asked.map(onStoredStatus)};
    return key === 'status' ? ofStatus(asked) : {[key]: asked};
  });
  return parts.length === 1 ? parts[0] : {$and: parts};
}

function ofStatus(asked) {
  if (typeof asked === 'string') return isStatus(asked);
  const [operator, ...others] = Object.keys(asked || {});
  const values = operator === '$eq' || operator === '$ne' ? [asked[operator]] : asked && asked[operator];
  if (others.length || !['$eq', '$in', '$ne', '$nin'].includes(operator) || !values.length) return {[MADE_STATUS]: asked};
  return {[['$eq', '$in'].includes(operator) ? '$or' : '$nor']: values.map(isStatus)};
}

function isStatus(status) {
  const silent = {$lt: new Date(Date.now() - SILENCE)};
  const isSilent = [{heartbeat: silent}, {heartbeat: null, start_time: silent}];
  if (status === 'PROBABLY_DEAD') return {status: 'RUNNING', $or: isSilent};
  return status === 'RUNNING' ? {status, $nor: isSilent} : {status};
}

function namedFields(value) {
  if (Array.isArray(value)) return value.flatMap(namedFields);
  if (value === null || typeof value !== 'object') return [];
  return Object.keys(value).flatMap(key => (key.startsWith('$') ? namedFields(value[key]) : [key]));
}

function overlaps(one, other) {
  return one === other || one.startsWith(`${other}.`) || other.startsWith(`${one}.`);
}

/* The values of a field, of arrays those that are in them. */
async function distinctValues(collection, path) {
  const runs = await collection.find({[path]: {$exists: true}}, {projection: {[path]: 1}}).toArray();
  const values = runs.flatMap(run => path.split('.').reduce((part, key) => (part ? part[key] : undefined), run));
  return [...new Map(values.filter(value => value !== undefined).map(value => [JSON.stringify(value), value])).values()];
}

module.exports = {changeQueries};
