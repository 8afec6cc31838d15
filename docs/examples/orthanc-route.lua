-- Sends each MR series to lgg-node once nothing of it has come for Orthanc's StableAge, as one job
-- with one association. The results are of modality SEG, so that they are not sent back.
function OnStableSeries(seriesId, tags, metadata)
  if tags['Modality'] == 'MR' then
    local job = { Resources = { seriesId }, Synchronous = false }
    RestApiPost('/modalities/lgg-node/store', DumpJson(job))
  end
end
